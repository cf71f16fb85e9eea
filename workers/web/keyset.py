"""Lists that go on behind their last row: which campaign is asked about and how, the page, and the whole as CSV."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Header, Query
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.campaign import Instant
from domain.contact import ContactState
from domain.errors import Detail
from domain.outcome import Outcome
from domain.validation import refused
from infra.db.contacts import Presence
from infra.db.counts import campaign_with_counts
from infra.db.ledger import Filters
from infra.db.listing import Stretch
from infra.db.situation import situation
from workers.runtime import Runtime
from workers.web import csv_answer
from workers.web.answers import KeysetAnswer, answer
from workers.web.asked import Id, Now
from workers.web.auth import GREATEST_ID, Caller, Reader, TheRuntime

CSV_PAGE = 1000
SEEK_SECONDS = 2.0
LONGEST_CURSOR = 40

OneId = Annotated[int | None, Query(ge=1, le=GREATEST_ID)]
RunNumber = Annotated[int | None, Query(ge=1, le=2**31 - 1)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=LONGEST_CURSOR)]
Row = TypeVar("Row", bound=BaseModel)
After = TypeVar("After")


def filters(
    outcome: Annotated[tuple[Outcome, ...], Query()] = (),
    cohort: OneId = None,
    run: RunNumber = None,
    connection: OneId = None,
    since: Annotated[Instant | None, Query()] = None,
) -> Filters:
    return Filters(outcomes=outcome, cohort_id=cohort, run=run, connection_id=connection, since=since)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which campaign, by whom, and how the answer should look."""

    runtime: Runtime
    caller: Caller
    campaign_id: int
    now: datetime
    as_csv: bool

    async def presence(self, connection: AsyncConnection) -> Presence:
        """The campaign, and what holds its contacts up; NotFoundError when the organization has no such campaign."""
        found, counts = await campaign_with_counts(connection, self.caller.organization_id, self.campaign_id)
        dialing = counts.contacts[ContactState.DIALING]
        return Presence(found, await situation(connection, found, dialing, self.now), self.now)


def asked(
    runtime: TheRuntime, caller: Reader, campaign_id: Id, now: Now, accept: Annotated[str, Header()] = "*/*"
) -> Asked:
    return Asked(runtime, caller, campaign_id, now, csv_answer.is_wanted(accept))


Asking = Annotated[Asked, Depends(asked)]
Filtering = Annotated[Filters, Depends(filters)]


@dataclass(frozen=True, slots=True)
class Pages(Generic[Row, After]):
    """Rows page by page: how to read some after a place, and which place a row is."""

    kind: type[Row]
    read: Callable[[After, int], Awaitable[Stretch[Any, After]]]
    place: Callable[[Row], After]

    async def one_after(self, after: After, limit: int, written: Callable[[After], str]) -> Response:
        rows, end = await self._sought(after, limit + 1)
        last = self.place(rows[limit - 1]) if len(rows) > limit else end
        told = None if last is None else written(last)
        return answer(KeysetAnswer[self.kind](items=rows[:limit], limit=limit, next_cursor=told))  # type: ignore[name-defined]

    async def all_after(self, after: After) -> AsyncIterator[Sequence[Row]]:
        """Every page in a statement of its own, so that a slow reader holds nothing."""
        place: After | None = after
        while place is not None:
            stretch = await self.read(place, CSV_PAGE)
            place = stretch.end
            if stretch.rows:
                yield self._made(stretch)

    async def _sought(self, after: After, most: int) -> tuple[list[Row], After | None]:
        """So many rows, or those found within two seconds; and where to go on."""
        until = monotonic() + SEEK_SECONDS
        rows: list[Row] = []
        place: After | None = after
        while place is not None and len(rows) < most and (place is after or monotonic() < until):
            stretch = await self.read(place, most - len(rows))
            rows += self._made(stretch)
            place = stretch.end
        return rows, place

    def _made(self, stretch: Stretch[Any, After]) -> list[Row]:
        return [self.kind.model_validate(row) for row in stretch.rows]


def digits(text: str, most: int) -> int:
    """A number of a cursor; InvalidError for what this program never wrote."""
    if text.isascii() and text.isdigit() and int(text) <= most:
        return int(text)
    raise refused((Detail("cursor", "is not a cursor of this list; take next_cursor from the page before"),))
