"""A desk to upload cohorts at, to read them, and to look at what became of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.cohort import Category, Mapping, SourceType
from infra.db.cohorts import Cohort, cohort, create_cohort, rejected_rows
from infra.metrics import Metrics, make_metrics
from tests.builders import Scene
from workers.ingest.chunk import Reader
from workers.ingest.ingest import Limits, ingest, step

T = TypeVar("T")
LIMITS = Limits(max_rows=1000, max_columns=10, max_cell_characters=4000)


@dataclass(frozen=True, slots=True)
class Desk:
    """Uploads to one campaign and reads what was uploaded; everything it does is committed."""

    runner: asyncio.Runner
    database: AsyncEngine
    campaign: Scene
    limits: Limits = LIMITS
    metrics: Metrics = field(default_factory=make_metrics)

    def with_limits(self, **limits: Any) -> "Desk":
        return replace(self, limits=replace(self.limits, **limits))

    def there(self, campaign_id: int) -> "Desk":
        """The same desk for another campaign of the organization."""
        return replace(self, campaign=replace(self.campaign, campaign_id=campaign_id))

    def do(self, step: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async def in_transaction() -> T:
            async with self.database.begin() as connection:
                return await step(connection)

        return self.runner.run(in_transaction())

    def execute(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        async def rows(connection: AsyncConnection) -> list[tuple[Any, ...]]:
            result = await connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

        return self.do(rows)

    def upload(
        self,
        file: bytes | str,
        mapping: dict[str, Any] | None = None,
        *,
        source_type: SourceType = SourceType.CSV,
        category: Category = Category.CONTACTS,
    ) -> int:
        data = file.encode() if isinstance(file, str) else file
        return self.do(
            lambda connection: create_cohort(
                connection,
                self.campaign.campaign_id,
                self.campaign.organization_id,
                name="List",
                source_type=source_type,
                mapping=None if mapping is None else Mapping.model_validate(mapping),
                created_by="ann",
                category=category,
                chunks=_pieces(data),
            )
        ).id

    def stop(self, *phones: str) -> int:
        """A stop file with these numbers."""
        return self.upload("\n".join(["phone", *phones, ""]), category=Category.STOP_FILE)

    def states(self) -> dict[str, str]:
        """The state of every contact by its number."""
        return {str(phone): str(state) for phone, state in self.execute("SELECT phone, state FROM contacts")}

    def read(self, cohort_id: int) -> Cohort:
        """Read to the end, as one worker would."""
        self.runner.run(ingest(self.database, self.limits, self.metrics, cohort_id, asyncio.Event()))
        return self.cohort(cohort_id)

    def read_chunk(self, cohort_id: int) -> bool:
        return self.runner.run(
            step(self.database, self.limits, self.metrics, cohort_id, Reader(self.limits.chunk_bytes))
        )

    def cohort(self, cohort_id: int) -> Cohort:
        campaign = self.campaign
        return self.do(lambda db: cohort(db, campaign.organization_id, campaign.campaign_id, cohort_id))

    def phones(self, cohort_id: int) -> list[str]:
        """The numbers of a cohort's contacts, in the order they would be tried."""
        rows = self.execute("SELECT phone FROM contacts WHERE cohort_id = :id ORDER BY due_at, id", id=cohort_id)
        return [phone for (phone,) in rows]

    def rejected(self, cohort_id: int) -> dict[int, str]:
        """The rejected rows' lines and reasons."""
        rows = self.execute(
            "SELECT line_number, reason FROM rejected_records WHERE cohort_id = :id ORDER BY line_number", id=cohort_id
        )
        return {int(line): str(reason) for line, reason in rows}

    def rejected_csv(self, cohort_id: int) -> str:
        async def whole(connection: AsyncConnection) -> bytes:
            return b"".join([piece async for piece in rejected_rows(connection, cohort_id)])

        return self.do(whole).decode()


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]
