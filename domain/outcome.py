"""How an attempt ended, and what a provider's words mean."""

from enum import StrEnum


class Outcome(StrEnum):
    """An attempt without an outcome is open; `VOID` provably sent nothing and counts for nothing."""

    COMPLETED = "completed"
    SHORT_DURATION = "short_duration"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    PROVIDER_ERROR = "provider_error"
    INTERNAL_ERROR = "internal_error"
    SENT = "sent"
    VOID = "void"


class ProviderStatus(StrEnum):
    """The words of the `http` connection, in callbacks, look-ups and immediate answers."""

    RINGING = "ringing"
    ANSWERED = "answered"
    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    PROVIDER_ERROR = "provider_error"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"


class AnsweredBy(StrEnum):
    """Who may have answered, in the words of the `http` connection."""

    HUMAN = "human"
    MACHINE = "machine"
    UNKNOWN = "unknown"


FINAL_STATUSES: dict[str, Outcome] = {
    ProviderStatus.COMPLETED: Outcome.COMPLETED,
    ProviderStatus.BUSY: Outcome.BUSY,
    ProviderStatus.NO_ANSWER: Outcome.NO_ANSWER,
    ProviderStatus.FAILED: Outcome.FAILED,
    ProviderStatus.PROVIDER_ERROR: Outcome.PROVIDER_ERROR,
    ProviderStatus.SENT: Outcome.SENT,
    ProviderStatus.DELIVERED: Outcome.COMPLETED,
    ProviderStatus.UNDELIVERED: Outcome.FAILED,
}


def final_outcome(status: str, duration_seconds: float | None, threshold_seconds: int | None) -> Outcome | None:
    """The outcome a provider's status stands for; None while the attempt is still under way or the word is unknown.

    An answered call strictly shorter than the threshold (seconds) is `short_duration`.
    """
    if status != ProviderStatus.COMPLETED or threshold_seconds is None or duration_seconds is None:
        return FINAL_STATUSES.get(status)
    return Outcome.SHORT_DURATION if duration_seconds < threshold_seconds else Outcome.COMPLETED
