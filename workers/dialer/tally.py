"""What a dialer counts: what became of the slots it received, and what its dials met at their providers."""

from datetime import timedelta
from functools import lru_cache

from domain.attempt import Entry, Report, instant
from domain.dial_result import DialResult, dial_result
from infra.metrics import Metrics

A_SECOND = timedelta(seconds=1)
SERIES_REMEMBERED = 2000


class Tally:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # Finding a series by its labels costs as much as counting in it, several times for every attempt.
        found = lru_cache(maxsize=SERIES_REMEMBERED)
        self._used = found(metrics.slots_used.labels)
        self._results = found(metrics.provider_results.labels)
        self._answers = found(metrics.provider_answers.labels)

    def void(self, entry: Entry, reason: str) -> None:
        """A slot nothing was sent at; `reason` is a word of a closed list."""
        self._metrics.slots_void.labels(entry.campaign_id, reason).inc()

    def dialled(self, entry: Entry, report: Report) -> None:
        """A slot whose dial is over, with what the provider's answer means."""
        if report.started_at is None:
            self.void(entry, report.trouble or report.reason or "unknown")
        else:
            self._used(entry.campaign_id).inc()
            self._metrics.slot_lateness.observe((report.started_at - instant(entry.slot)) / A_SECOND)
        result = dial_result(report)
        if result is not None:
            self._results(entry.connection_id, result).inc()
        if report.started_at is not None and result is not DialResult.UNKNOWN:
            self._answers(entry.connection_id).observe((report.at - report.started_at) / A_SECOND)
