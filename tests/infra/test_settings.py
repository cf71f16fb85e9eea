"""A wrong setting is named with its value and its rule, and never tells a secret."""

import pytest

from domain.errors import ConfigurationError
from infra.settings import load_settings

WRONG = [
    pytest.param("OUTDIAL_TICK_MS", "abc", "OUTDIAL_TICK_MS is 'abc'", id="no number"),
    pytest.param("OUTDIAL_TICK_MS", "5", "greater than or equal to 10", id="too small"),
    pytest.param("OUTDIAL_LOG_LEVEL", "loud", "OUTDIAL_LOG_LEVEL is 'loud'", id="no such level"),
    pytest.param("OUTDIAL_LOOK_UP_SECONDS", "x", "OUTDIAL_LOOK_UP_SECONDS (element 1) is 'x'", id="no list"),
    pytest.param("OUTDIAL_LOOK_UP_SECONDS", "[-5,0]", "(element 1) is '-5'", id="a wait below nothing"),
    pytest.param("OUTDIAL_RETRY_MINUTE_SECONDS", "inf", "OUTDIAL_RETRY_MINUTE_SECONDS is 'inf'", id="no end"),
    pytest.param("OUTDIAL_JWT_SECRET", "abc", "has 3 characters", id="a short secret"),
    pytest.param("OUTDIAL_ENCRYPTION_KEY", "abc", "make one with `outdial key`", id="no key"),
    pytest.param("OUTDIAL_TICKMS", "50", "did you mean OUTDIAL_TICK_MS?", id="a mistyped name"),
]


@pytest.mark.parametrize(("name", "value", "told"), WRONG)
def test_a_wrong_setting_is_named(name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError) as refused:
        load_settings()

    assert name in refused.value.message
    assert told in refused.value.message


@pytest.mark.parametrize("name", ["OUTDIAL_JWT_SECRET", "OUTDIAL_ENCRYPTION_KEY", "OUTDIAL_METRICS_TOKEN"])
def test_a_wrong_secret_is_not_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "hunter2")

    with pytest.raises(ConfigurationError) as refused:
        load_settings()

    assert "hunter2" not in refused.value.message + refused.value.way_out


@pytest.mark.parametrize("written", ["15, 60,300", "[15, 60, 300]"])
def test_a_list_may_be_written_with_or_without_brackets(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTDIAL_LOOK_UP_SECONDS", written)

    assert load_settings().look_up_seconds == (15.0, 60.0, 300.0)


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTDIAL_TICK_MS", "abc")
    monkeypatch.setenv("OUTDIAL_PORT", "70000")

    with pytest.raises(ConfigurationError, match=r"OUTDIAL_PORT.*OUTDIAL_TICK_MS"):
        load_settings()


SECRET = "a secret of more than thirty-two characters"
CONTRADICTIONS = [
    pytest.param({"JWKS_FILE": "keys.json"}, "OUTDIAL_JWKS_FILE is set, but OUTDIAL_JWT_ALGORITHM is HS256", id="keys"),
    pytest.param({"JWT_ALGORITHM": "RS256"}, "it needs either OUTDIAL_JWKS_FILE or OUTDIAL_JWKS_URL", id="no keys"),
    pytest.param({"JWT_ALGORITHM": "none"}, "OUTDIAL_JWT_ALGORITHM is 'none'", id="no algorithm"),
    pytest.param(
        {"JWT_ALGORITHM": "ES256", "JWKS_FILE": "keys.json", "JWKS_URL": "https://id.example"}, "2 are set", id="both"
    ),
    pytest.param(
        {"JWT_ALGORITHM": "ES256", "JWKS_FILE": "keys.json", "JWT_SECRET": SECRET},
        "leave the secret out",
        id="a secret",
    ),
    pytest.param({"JWT_ALGORITHM": "RS256", "JWKS_URL": "http://id.example"}, "is no https URL", id="open to all"),
    pytest.param({"JWT_ALGORITHM": "RS256", "JWKS_URL": "file:///keys"}, "is no https URL", id="a file as a URL"),
    pytest.param({"REQUESTS_PER_SECOND": "-1"}, "OUTDIAL_REQUESTS_PER_SECOND is '-1'", id="a rate below nothing"),
]


@pytest.mark.parametrize(("values", "told"), CONTRADICTIONS)
def test_settings_that_contradict_each_other_stop_the_process(
    values: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"OUTDIAL_{name}", value)

    with pytest.raises(ConfigurationError) as refused:
        load_settings()

    assert told in refused.value.message
    assert SECRET not in refused.value.message


def test_two_secrets_or_one_source_of_keys_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTDIAL_JWT_SECRET", SECRET)
    monkeypatch.setenv("OUTDIAL_JWT_PREVIOUS_SECRET", SECRET[::-1])
    rotating = load_settings()
    monkeypatch.delenv("OUTDIAL_JWT_SECRET")
    monkeypatch.delenv("OUTDIAL_JWT_PREVIOUS_SECRET")

    published = load_settings(jwt_algorithm="ES256", jwks_url="https://id.example/keys")

    assert (rotating.jwt_algorithm, published.jwt_algorithm) == ("HS256", "ES256")
