"""What a process counts and measures, for Prometheus.

Nothing is registered at import: `make_metrics` builds the one registry of a process. Labels are ids and words of closed
lists; a phone number, a name or a provider's text never is one.
"""

from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

LATENESS_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
STEP_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Of one process; what it never does it never counts, so most series of a process stay empty."""

    registry: CollectorRegistry
    slots_granted: Counter
    slots_used: Counter
    slots_void: Counter
    slot_lateness: Histogram
    provider_answers: Histogram
    provider_results: Counter
    attempts: Counter
    reports_committed: Counter
    report_batches: Histogram
    reports_waiting: Gauge
    lease_held: Gauge
    lease_term: Gauge
    scheduler_steps: Histogram
    scheduler_holds: Counter
    scheduler_stretch: Gauge
    ingest_rows: Counter
    webhook_tries: Counter


def make_metrics() -> Metrics:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(namespace="outdial", registry=registry)
    counter = partial(Counter, registry=registry)
    gauge = partial(Gauge, registry=registry)
    histogram = partial(Histogram, registry=registry)
    return Metrics(
        registry=registry,
        slots_granted=counter(
            "outdial_slots_granted", "Slots granted, whether or not a dialer received them.", ["campaign_id"]
        ),
        slots_used=counter("outdial_slots_used", "Slots at which a first byte left.", ["campaign_id"]),
        slots_void=counter(
            "outdial_slots_void", "Slots a dialer received and did not use, by reason.", ["campaign_id", "reason"]
        ),
        slot_lateness=histogram(
            "outdial_slot_lateness_seconds", "How long after its slot a first byte left.", buckets=LATENESS_BUCKETS
        ),
        provider_answers=histogram(
            "outdial_provider_answer_seconds",
            "From the first byte of an attempt to the provider's answer.",
            ["connection_id"],
        ),
        provider_results=counter(
            "outdial_provider_results", "What dials met at their provider.", ["connection_id", "result"]
        ),
        attempts=counter(
            "outdial_attempts",
            "Outcomes entered in the ledger; one that changes afterwards (sent to completed) is counted again.",
            ["campaign_id", "outcome"],
        ),
        reports_committed=counter(
            "outdial_reports_committed", "Reports committed, by who learned what they say.", ["source"]
        ),
        report_batches=histogram(
            "outdial_report_batch_size", "Reports committed in one transaction.", buckets=BATCH_BUCKETS
        ),
        reports_waiting=gauge("outdial_reports_waiting", "Reports this process holds that are not committed yet."),
        lease_held=gauge("outdial_scheduler_lease_held", "1 while this process is the scheduler that may grant."),
        lease_term=gauge("outdial_scheduler_term", "Term under which this process held the lease last."),
        scheduler_steps=histogram(
            "outdial_scheduler_step_seconds",
            "How long the scheduler's steps take; a tick is the step 'grant'.",
            ["step"],
            buckets=STEP_BUCKETS,
        ),
        scheduler_holds=counter(
            "outdial_scheduler_holds", "How often granting was put off for a moment, by reason.", ["reason"]
        ),
        scheduler_stretch=gauge(
            "outdial_scheduler_stretch",
            "How many times as far apart as their rates allow slots are granted, because dialers are behind.",
        ),
        ingest_rows=counter(
            "outdial_ingest_rows",
            "Rows of cohorts read, valid or rejected; a chunk that has to be read again counts again.",
            ["result"],
        ),
        webhook_tries=counter(
            "outdial_webhook_tries",
            "Tries to deliver to customers' webhooks: delivered, retried (to be tried again) or failed.",
            ["result"],
        ),
    )
