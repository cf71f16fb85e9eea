"""What a process can count: in a registry of its own, under names and labels that say nothing of a person."""

from prometheus_client import REGISTRY, generate_latest

from infra.metrics import make_metrics

LABELS = {"campaign_id", "connection_id", "reason", "result", "outcome", "source", "step"}


def test_every_name_is_ours_and_has_a_help_text() -> None:
    families = list(make_metrics().registry.collect())

    assert [family.name for family in families if not family.name.startswith("outdial_")] == []
    assert [family.name for family in families if not family.documentation] == []


def test_two_processes_worth_of_metrics_do_not_meet() -> None:
    one, other = make_metrics(), make_metrics()

    one.slots_used.labels(7).inc()

    assert b'outdial_slots_used_total{campaign_id="7"} 1.0' in generate_latest(one.registry)
    assert b'campaign_id="7"' not in generate_latest(other.registry)
    assert b"outdial_" not in generate_latest(REGISTRY)


def test_labels_are_ids_and_words_of_closed_lists() -> None:
    metrics = make_metrics()
    metrics.slots_void.labels(campaign_id=1, reason="late").inc()
    metrics.provider_results.labels(connection_id=1, result="accepted").inc()
    metrics.attempts.labels(campaign_id=1, outcome="busy").inc()
    metrics.reports_committed.labels(source="callback").inc()
    metrics.scheduler_steps.labels(step="grant").observe(0.001)
    metrics.scheduler_holds.labels(reason="unused").inc()
    metrics.ingest_rows.labels(result="valid").inc()

    names = {name for family in metrics.registry.collect() for sample in family.samples for name in sample.labels}

    assert names - {"le"} == LABELS


def test_lateness_is_told_down_to_half_a_millisecond() -> None:
    metrics = make_metrics()

    metrics.slot_lateness.observe(0.0007)

    text = generate_latest(metrics.registry).decode()
    assert 'outdial_slot_lateness_seconds_bucket{le="0.0005"} 0.0' in text
    assert 'outdial_slot_lateness_seconds_bucket{le="0.001"} 1.0' in text
    assert "_created" not in text
