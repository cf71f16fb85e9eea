"""Copies of campaigns: without anybody (duplicate), or for those whom the original did not reach (redial).

A contact is chosen by how its run went for it: by the outcome of its latest attempt, or by its state. One that must
not be called, or still has attempts of its own to come, is chosen too and rejected by name, so that nobody is missing
without a reason.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import orjson
from pydantic import Field

from domain.allowed_schedule import AllowedSchedule
from domain.campaign import AppConfig, CampaignName, CampaignSpec, Description, Status
from domain.cohort_row import OPTED_OUT, STOPPED, Draft, Rejection
from domain.contact import ContactState
from domain.outcome import Outcome
from domain.shown import shown_state
from domain.spec import Problem, Spec, overlaid, taken_away
from domain.template import MISSING_VARIABLE, lacking

STILL_OPEN = "still_open"
LONGEST_NAME = 200
COLUMNS = ("contact_id", "phone_number", "user_identifier", "timezone", "variables")

RedialledOutcome = Literal[
    "completed", "short_duration", "busy", "no_answer", "failed", "provider_error", "internal_error", "sent"
]
RedialledState = Literal["done", "exhausted", "expired", "cancelled"]

_REFUSED: dict[ContactState, str] = {
    ContactState.OPTED_OUT: OPTED_OUT,
    ContactState.REMOVED: STOPPED,
    ContactState.READY: STILL_OPEN,
    ContactState.DIALING: STILL_OPEN,
}


class CampaignCopy(Spec):
    """The body of `POST …/duplicate`: what the copy has of its own. All else but the dates is the original's."""

    name: CampaignName | None = None
    description: Description | None = None
    app_config: AppConfig | None = None
    allowed_schedule: AllowedSchedule | None = None
    end_when_exhausted: bool | None = None

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (taken_away(self, CampaignSpec),)


class Redial(CampaignCopy):
    """The body of `POST …/redial`: whom to call again. Who is chosen by an outcome or by a state is chosen."""

    outcomes: Annotated[tuple[RedialledOutcome, ...], Field(max_length=8, strict=False)] = ()
    states: Annotated[tuple[RedialledState, ...], Field(max_length=4, strict=False)] = ()

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (*super().rules(), _nobody(self))


def _nobody(redial: Redial) -> Iterator[Problem]:
    if not redial.outcomes and not redial.states:
        yield (), "say whom to call again: give outcomes, states or both"


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom a redial takes from the run of a campaign, which stands at this status."""

    outcomes: frozenset[Outcome]
    states: frozenset[ContactState]
    status: Status
    run: int

    def takes(self, one: "Found") -> bool:
        return not one.is_erased and (one.outcome in self.outcomes or self.shown(one) in self.states)

    def shown(self, one: "Found") -> ContactState:
        return shown_state(one.state, self.status, of_this_run=one.run >= self.run)


@dataclass(frozen=True, slots=True)
class Found:
    """A contact of the original campaign, with the latest outcome of the run. `variables` is its JSON text.

    `is_stopped`: the campaign's stop list has its number, whatever its state.
    """

    contact_id: int
    phone: str
    user_identifier: str | None
    timezone: str | None
    variables: str
    state: ContactState
    run: int
    outcome: Outcome | None
    is_stopped: bool = False

    @property
    def is_erased(self) -> bool:
        """Nobody is there to be called again."""
        return not self.phone.startswith("+")


def copied(spec: CampaignSpec, copy: CampaignCopy, ending: str) -> CampaignSpec:
    """The spec of a copy, not judged yet: a draft, because it has no dates."""
    fresh = {"start_timestamp": None, "end_timestamp": None}
    name = f"{spec.name[: LONGEST_NAME - len(ending)]}{ending}"
    return overlaid(spec.model_copy(update=fresh | {"name": name}), copy)


def chosen(
    found: Iterable[Found], choice: Choice, after_line: int, required_variables: Sequence[str] = ()
) -> list[Draft | Rejection]:
    """The contacts that are chosen, numbered on from a line: each to be called again, or with why it is not.

    `required_variables` are those of the new campaign's message.
    """
    matching = enumerate(filter(choice.takes, found), after_line + 1)
    return [_judged(one, choice.shown(one), line, required_variables) for line, one in matching]


def cells(one: Found) -> list[str]:
    """The contact as a row of `COLUMNS`."""
    return [str(one.contact_id), one.phone, one.user_identifier or "", one.timezone or "", one.variables]


def _judged(one: Found, state: ContactState, line: int, required_variables: Sequence[str]) -> Draft | Rejection:
    reason = STOPPED if one.is_stopped else _REFUSED.get(state) or _missing(one, required_variables)
    if reason is not None:
        return Rejection(line, reason, cells(one))
    return Draft(line, one.phone, one.user_identifier, one.timezone, one.variables)


def _missing(one: Found, required: Sequence[str]) -> str | None:
    missing = lacking(required, orjson.loads(one.variables)) if required else None
    return None if missing is None else MISSING_VARIABLE + missing
