"""How a campaign is shown: as a summary, with its capacity, and whole with its live counts."""

from datetime import datetime
from typing import Any

from domain.allowed_schedule import AllowedSchedule
from domain.campaign import FINAL, LONGEST_LENGTH, AppConfig, Channel, Status
from domain.capacity import Contacts, outlook
from domain.contact import ContactState
from domain.runs import passed, run_ends
from domain.waiting import Wait
from domain.webhook import Event, Webhook
from infra.db.campaigns import Campaign
from infra.db.counts import Counts
from workers.web.answers import Answer, Millis


class Summary(Answer):
    name: str
    campaign_id: int
    status: Status
    channel: Channel
    app_id: str | None
    app_type: str | None
    app_version: int | None
    description: str | None
    created_by: str
    created_at: Millis
    updated_by: str
    updated_at: Millis
    start_timestamp: Millis | None
    end_timestamp: Millis | None


class CapacityAnswer(Answer):
    max_total_attempts: int
    window_seconds: float
    attempts_possible: int
    required_attempts_per_second: float | None
    expected_end: Millis | None
    warnings: list[str]


class Sized(Summary):
    capacity: CapacityAnswer


class Redialled(Sized):
    """`cohort_id` is the cohort that a worker fills."""

    cohort_id: int


class CountsAnswer(Answer):
    """Every state and every outcome, those without any as 0; attempts of all runs, `open` while they have none."""

    contacts: dict[ContactState, int]
    attempts: dict[str, int]


class Progress(Answer):
    """`final_contacts` need no further attempt in the present run."""

    total_contacts: int
    final_contacts: int
    percent: float


class WebhookAnswer(Answer):
    """The secret is never shown. `is_gone`: it answered 410 Gone and gets nothing until it is written again."""

    url: str
    events: tuple[Event, ...]
    is_gone: bool


class Whole(Sized):
    """`waiting_for` is what holds all its contacts up (`paused`, `window`, `connection_unavailable`…), until when."""

    app_config: AppConfig
    allowed_schedule: AllowedSchedule | None
    end_when_exhausted: bool
    webhook: WebhookAnswer | None
    run: int
    started_at: Millis | None
    next_run_at: Millis | None
    counts: CountsAnswer
    progress: Progress
    waiting_for: str | None
    waiting_until: Millis | None


NOBODY = Contacts(0, 0)


def contacts_of(counts: Counts) -> Contacts:
    return Contacts(counts.total_contacts, counts.total_contacts - counts.final_contacts)


def summary(campaign: Campaign) -> Summary:
    return Summary(**_summary(campaign))


def sized(campaign: Campaign, contacts: Contacts, now: datetime) -> Sized:
    return Sized(**_summary(campaign), capacity=_capacity(campaign, contacts, now))


def redialled(campaign: Campaign, cohort_id: int, now: datetime) -> Redialled:
    return Redialled(**_summary(campaign), capacity=_capacity(campaign, NOBODY, now), cohort_id=cohort_id)


def whole(
    campaign: Campaign, counts: Counts, wait: Wait | None, now: datetime, *, webhook_is_gone: bool | None
) -> Whole:
    """`webhook_is_gone` is None without a webhook."""
    return Whole(
        **_summary(campaign),
        capacity=_capacity(campaign, contacts_of(counts), now),
        app_config=campaign.spec.app_config,
        allowed_schedule=campaign.spec.allowed_schedule,
        end_when_exhausted=campaign.spec.end_when_exhausted,
        webhook=_webhook(campaign.spec.webhook, is_gone=webhook_is_gone),
        run=campaign.run,
        started_at=campaign.started_at,
        next_run_at=next_run_at(campaign, now),
        counts=CountsAnswer(contacts=counts.contacts, attempts=counts.attempts),
        progress=_progress(counts),
        waiting_for=wait.what if wait else None,
        waiting_until=wait.until if wait else None,
    )


def _summary(campaign: Campaign) -> dict[str, Any]:
    spec = campaign.spec
    return {
        "name": spec.name,
        "campaign_id": campaign.id,
        "status": campaign.status,
        "channel": spec.channel,
        "app_id": spec.app_config.app_id,
        "app_type": spec.app_config.app_type,
        "app_version": spec.app_config.app_version,
        "description": spec.description,
        "created_by": campaign.created_by,
        "created_at": campaign.created_at,
        "updated_by": campaign.updated_by,
        "updated_at": campaign.updated_at,
        "start_timestamp": campaign.start_at,
        "end_timestamp": campaign.end_at,
    }


def next_run_at(campaign: Campaign, now: datetime) -> datetime | None:
    """When it runs next by itself; occurrences that pass while it is paused are not waited for."""
    if campaign.status in FINAL:
        return None
    waiting = campaign.next_run_at if campaign.recurs else campaign.start_at
    if campaign.status is Status.SCHEDULED or (waiting is not None and waiting > now):
        return waiting
    return passed(campaign.plan, waiting, campaign.end_at, now).next_at if campaign.plan and campaign.recurs else None


def _capacity(campaign: Campaign, contacts: Contacts, now: datetime) -> CapacityAnswer:
    """Of one run: from its start, else from when it began, else from now; without an end it has as long as it may."""
    start = campaign.start_at or campaign.started_at or now
    end = run_ends(campaign.plan, start, campaign.end_at) or start + LONGEST_LENGTH
    return CapacityAnswer.model_validate(outlook(campaign.spec, contacts, start, end, now))


def _webhook(webhook: Webhook | None, *, is_gone: bool | None) -> WebhookAnswer | None:
    if webhook is None or is_gone is None:
        return None
    return WebhookAnswer(url=webhook.url, events=webhook.events, is_gone=is_gone)


def _progress(counts: Counts) -> Progress:
    total, final = counts.total_contacts, counts.final_contacts
    return Progress(total_contacts=total, final_contacts=final, percent=round(100 * final / total, 2) if total else 0.0)
