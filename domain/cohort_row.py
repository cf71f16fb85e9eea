"""A row of a cohort: a contact to be, or a rejection with its reason."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from domain.allowed_schedule import known_zone
from domain.cohort import Plan
from domain.cohort_file import ROW_TOO_LONG, Record
from domain.phone import to_callable
from domain.template import MISSING_VARIABLE, lacking

MISSING_PHONE = "missing_phone_number"
INVALID_PHONE = "invalid_phone_number"
INVALID_TIMEZONE = "invalid_timezone"
WRONG_COLUMN_COUNT = "wrong_column_count"
MISSING_REQUIRED = "missing_required_column:"
DUPLICATE_IN_FILE = "duplicate_in_file"
DUPLICATE_IN_CAMPAIGN = "duplicate_in_campaign"
OPTED_OUT = "opted_out"
STOPPED = "stopped"


class Draft(NamedTuple):
    """A contact that may be inserted; `variables` is a JSON object."""

    line: int
    phone: str
    user_identifier: str | None
    timezone: str | None
    variables: str


class Rejection(NamedTuple):
    line: int
    reason: str
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """What every row of a file is judged by, beside its plan; the message of its campaign may require variables."""

    default_region: str | None
    max_cell_characters: int
    required_variables: tuple[str, ...] = ()


def judge(record: Record, plan: Plan, rules: Rules) -> Draft | Rejection:
    """What becomes of a row, as far as the row alone can tell."""
    fault = record.fault or _misshapen(record.cells, plan, rules) or _incomplete(record.cells, plan)
    if fault is not None:
        return Rejection(record.line, fault, record.cells)
    phone = to_callable(record.cells[plan.phone], rules.default_region)
    if phone is None:
        return Rejection(record.line, INVALID_PHONE, record.cells)
    variables = _variables(record.cells, plan)
    missing = lacking(rules.required_variables, orjson.loads(variables)) if rules.required_variables else None
    if missing is not None:
        return Rejection(record.line, MISSING_VARIABLE + missing, record.cells)
    identifier, zone = _cell(record.cells, plan.user_identifier), _cell(record.cells, plan.timezone)
    return Draft(record.line, phone, identifier, zone, variables)


def repeats(drafts: Iterable[Draft]) -> dict[int, int]:
    """The line of every draft whose number came earlier among these drafts, and the line where it came first."""
    first: dict[str, int] = {}
    return {draft.line: line for draft in drafts if (line := first.setdefault(draft.phone, draft.line)) != draft.line}


def refusals(refused: dict[int, str], repeated: dict[int, int], records: Iterable[Record]) -> list[Rejection]:
    """The rejections of rows that were good by themselves.

    `refused` are lines whose number the campaign or the organization does not take, with the reason. A repeated
    number shares the fate of its first row, so that the reason is the same wherever a chunk ends.
    """
    reasons = refused | {line: refused.get(first, DUPLICATE_IN_FILE) for line, first in repeated.items()}
    if not reasons:
        return []
    return [Rejection(r.line, reasons[r.line], r.cells) for r in records if r.line in reasons]


def _misshapen(cells: list[str], plan: Plan, rules: Rules) -> str | None:
    if len(cells) != len(plan.columns):
        return WRONG_COLUMN_COUNT
    if max(map(len, cells[: plan.variables_json])) > rules.max_cell_characters:
        return ROW_TOO_LONG
    return None


def _incomplete(cells: list[str], plan: Plan) -> str | None:
    if not cells[plan.phone].strip():
        return MISSING_PHONE
    for place in plan.required:
        if not cells[place].strip():
            return MISSING_REQUIRED + plan.columns[place]
    zone = _cell(cells, plan.timezone)
    return None if zone is None or _is_zone(zone) else INVALID_TIMEZONE


def _is_zone(name: str) -> bool:
    try:
        known_zone(name)
    except ValueError:
        return False
    return True


def _cell(cells: list[str], place: int | None) -> str | None:
    return None if place is None else cells[place].strip() or None


def _variables(cells: list[str], plan: Plan) -> str:
    if plan.variables_json is not None:
        return cells[plan.variables_json] or "{}"
    return orjson.dumps({name: cells[place] for name, place in plan.variables}).decode()
