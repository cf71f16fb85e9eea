"""What a dial met at its provider, in one word of a short list: for counting, never for deciding."""

from enum import StrEnum

from domain.attempt import Report
from domain.outcome import Outcome, ProviderStatus
from domain.recording import ACCEPTED, UNKNOWN


class DialResult(StrEnum):
    """`FINAL` ended in the answer itself; `FAILED` was refused for good, or failed at once."""

    ACCEPTED = "accepted"
    FINAL = "final"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNREACHABLE = "unreachable"
    THROTTLED = "throttled"
    REFUSED_CREDENTIALS = "refused_credentials"
    SERVER_ERROR = "server_error"


def dial_result(report: Report) -> DialResult | None:
    """The result a dialer's report stands for; None when the provider was not asked."""
    if report.trouble is not None:
        return DialResult(report.trouble.value)
    if report.status == Outcome.VOID:
        return None
    if report.status in {ACCEPTED, UNKNOWN}:
        return DialResult(report.status)
    return DialResult.FAILED if report.status == ProviderStatus.FAILED else DialResult.FINAL
