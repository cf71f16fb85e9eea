"""`/api/rule-packs`: the legal hours and caps that `allowed_schedule.rule_packs` can name."""

from fastapi import APIRouter
from pydantic import BaseModel

from domain.attempt_cap import AttemptCap
from domain.rule_packs import RULE_PACKS, RulePack
from workers.web.auth import Reader

router = APIRouter(prefix="/api/rule-packs", tags=["campaigns"])


class PackHours(BaseModel):
    """Hours `[start, end)` on the wall clock of the person called."""

    days: list[str]
    start: str
    end: str


class Pack(BaseModel):
    """`max_attempts_per_number` are all to be kept; `note` says what the pack does not know."""

    name: str
    source: str
    windows: list[PackHours]
    max_attempts_per_number: list[AttemptCap]
    note: str | None


class Packs(BaseModel):
    items: list[Pack]


@router.get("", summary="The rule packs there are")
async def rule_packs(_: Reader) -> Packs:
    return Packs(items=[_shown(pack) for pack in RULE_PACKS.values()])


def _shown(pack: RulePack) -> Pack:
    return Pack(
        name=pack.name,
        source=pack.source,
        windows=[PackHours(days=list(days), start=start, end=end) for days, start, end in pack.windows()],
        max_attempts_per_number=list(pack.caps),
        note=pack.note,
    )
