import pytest

from domain.outcome import FINAL_STATUSES, Outcome, ProviderStatus, final_outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("completed", Outcome.COMPLETED),
        ("busy", Outcome.BUSY),
        ("no_answer", Outcome.NO_ANSWER),
        ("failed", Outcome.FAILED),
        ("provider_error", Outcome.PROVIDER_ERROR),
        ("sent", Outcome.SENT),
        ("delivered", Outcome.COMPLETED),
        ("undelivered", Outcome.FAILED),
        ("ringing", None),  # still under way
        ("answered", None),
        ("transferred", None),  # a word nobody knows
        ("COMPLETED", None),  # words are exact
        ("void", None),  # not a provider's to say
        ("internal_error", None),
        ("", None),
    ],
)
def test_a_provider_s_word_stands_for_an_outcome(status: str, outcome: Outcome | None) -> None:
    assert final_outcome(status, None, None) is outcome


@pytest.mark.parametrize(
    ("status", "duration", "threshold", "outcome"),
    [
        ("completed", 9.999, 10, Outcome.SHORT_DURATION),
        ("completed", 10, 10, Outcome.COMPLETED),  # strictly shorter counts
        ("completed", 0, 1, Outcome.SHORT_DURATION),
        ("completed", 0, None, Outcome.COMPLETED),  # nobody asked
        ("completed", None, 10, Outcome.COMPLETED),  # nobody knows
        ("delivered", 0, 10, Outcome.COMPLETED),  # a message is not answered
        ("busy", 0, 10, Outcome.BUSY),  # nor is a busy line
        ("failed", 3, 10, Outcome.FAILED),
    ],
)
def test_only_an_answered_call_can_be_short(
    status: str, duration: float | None, threshold: int | None, outcome: Outcome
) -> None:
    assert final_outcome(status, duration, threshold) is outcome


def test_every_word_of_the_protocol_ends_an_attempt_or_shows_it_under_way() -> None:
    assert set(ProviderStatus) - FINAL_STATUSES.keys() == {ProviderStatus.RINGING, ProviderStatus.ANSWERED}
