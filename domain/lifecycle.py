"""Where an action leads a campaign at an instant, and what an edit may change."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from domain.allowed_schedule import AllowedSchedule
from domain.campaign import (
    EDITABLE,
    FINAL,
    LONGEST_LENGTH,
    TRANSITIONS,
    Action,
    AppConfig,
    CampaignName,
    CampaignSpec,
    Description,
    Instant,
    Rate,
    Status,
    lead_problem,
    next_status,
)
from domain.errors import ConflictError, Detail, StaleError
from domain.spec import Problem, Spec, overlaid, taken_away, told_of
from domain.validation import rule_problems
from domain.webhook import Webhook

THE_AGENT = ("app_id", "app_type", "app_version")


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a campaign bears on an action. `has_work`: it has a contact, or a cohort is still being read."""

    status: Status
    start_at: datetime | None
    end_at: datetime | None
    has_work: bool


class CampaignEdit(Spec):
    """The body of `PATCH /api/campaigns/{id}`: fields that are absent stay, `app_config` is replaced whole."""

    name: CampaignName | None = None
    description: Description | None = None
    app_config: AppConfig | None = None
    end_timestamp: Instant | None = None
    allowed_schedule: AllowedSchedule | None = None
    end_when_exhausted: bool | None = None
    webhook: Webhook | None = None

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (taken_away(self, CampaignSpec),)


def after_action(action: Action, standing: Standing, now: datetime) -> Status:
    """The status an action leads to; ConflictError, which names both states, when it is forbidden."""
    target = next_status(action, standing.status)
    if target is None:
        allowed, would = TRANSITIONS[action]
        raise ConflictError(
            f"cannot {action} a campaign that is {standing.status}: only {_listed(allowed)} can become {would}",
            _way_out(action, standing.status),
        )
    if target is standing.status or action not in {Action.RESUME, Action.START}:
        return target
    if standing.end_at is not None and standing.end_at <= now:
        raise ConflictError(
            f"cannot {action} a campaign that is {standing.status}: it cannot become {Status.ACTIVE}, "
            f"its end {standing.end_at.isoformat()} has passed",
            "move end_timestamp first",
        )
    return _begun(action, standing, now)


def _way_out(action: Action, status: Status) -> str:
    if status in FINAL:
        return "that is final: make a new campaign"
    return "start it first" if action in {Action.PAUSE, Action.RESUME} else "wait for its start, or pause it first"


def _begun(action: Action, standing: Standing, now: datetime) -> Status:
    if action is Action.START and not standing.has_work:
        raise ConflictError(
            f"cannot start a campaign that is {standing.status}: it has no contact to become {Status.ACTIVE} with",
            "upload a cohort first",
        )
    waits = action is Action.RESUME and standing.start_at is not None and standing.start_at > now
    return Status.SCHEDULED if waits else Status.ACTIVE


def first_end(end_at: datetime | None, now: datetime) -> datetime:
    """When a campaign that becomes active now ends."""
    return end_at or now + LONGEST_LENGTH


def check_epoch(expected: frozenset[int] | None, epoch: int) -> None:
    """StaleError unless the caller expects nothing, or the newest version."""
    if expected is not None and epoch not in expected:
        raise StaleError(f'the campaign has changed since: its ETag is "{epoch}"', "read it again and repeat the edit")


def check_editable(status: Status) -> None:
    if status not in EDITABLE:
        way_out = "pause it first" if status is Status.ACTIVE else "that is final: make a new campaign"
        raise ConflictError(f"a campaign that is {status} cannot be edited, only {_listed(EDITABLE)} ones", way_out)


def check_not_final(status: Status, what: str) -> None:
    if status in FINAL:
        raise ConflictError(f"cannot {what}: the campaign is {status}, and that is final", "make a new campaign")


def edited(spec: CampaignSpec, edit: CampaignEdit) -> CampaignSpec:
    """The campaign after an edit, with the agent it was created with; `edit_problems` judges it."""
    after = overlaid(spec, edit)
    if "app_config" in edit.model_fields_set and (app_config := after.__dict__.get("app_config")):
        agent = {name: getattr(spec.app_config, name) for name in THE_AGENT}
        return after.model_copy(update={"app_config": app_config.model_copy(update=agent)})
    return after


def edit_problems(before: CampaignSpec, edit: CampaignEdit, after: CampaignSpec, now: datetime) -> Iterator[Detail]:
    """What is wrong with an edit as a whole, of which only a part need be sound."""
    yield from told_of(_another_agent(before, edit), rule_problems(after))
    if "end_timestamp" in edit.model_fields_set:
        yield from past_end_problems(after, now)


def with_rate(spec: CampaignSpec, rate: Rate) -> CampaignSpec:
    paced = spec.app_config.model_copy(update={"attempts_per_second": rate})
    return spec.model_copy(update={"app_config": paced})


def timing_problems(spec: CampaignSpec, now: datetime) -> Iterator[Detail]:
    """What is wrong with the dates of a campaign that is created now."""
    if spec.start_timestamp is None:
        yield from past_end_problems(spec, now)
    elif problem := lead_problem(spec.start_timestamp, now):
        yield Detail("start_timestamp", problem)


def past_end_problems(spec: CampaignSpec, now: datetime) -> Iterator[Detail]:
    if spec.end_timestamp is not None and spec.end_timestamp <= now:
        yield Detail("end_timestamp", f"must be in the future; it is {spec.end_timestamp.isoformat()}")


def _another_agent(before: CampaignSpec, edit: CampaignEdit) -> Iterator[Detail]:
    """Leaving the agent out keeps it; naming another is refused."""
    if edit.app_config is None:
        return
    for name in THE_AGENT:
        kept = getattr(before.app_config, name)
        if name in edit.app_config.model_fields_set and edit.app_config.__dict__.get(name, kept) != kept:
            yield Detail(f"app_config.{name}", f"cannot change after creation; it is {kept!r}")


def _listed(statuses: frozenset[Status]) -> str:
    return ", ".join(status for status in Status if status in statuses)
