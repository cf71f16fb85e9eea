from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cohort import Category, CohortStatus, Mapping, SourceType
from domain.errors import ConflictError, NotFoundError
from infra.db import uploads
from infra.db.cohorts import MAPPING_FILE, PART_BYTES, Cohort, cohort, cohorts, create_cohort, file_parts
from infra.db.ingest import read_file
from infra.db.listing import Listed, Page
from tests.builders import Scene, organization, scene
from tests.conftest import Run
from tests.rows import amend, number_of

MAPPING = Mapping.model_validate({"phone_number": {"column_name": "Mobile"}})
SAID = uploads.Accepted("List", Category.CONTACTS, MAPPING)


def test_a_file_is_kept_whole_in_parts(run: Run) -> None:
    file = bytes(range(256)) * 10_000
    made = run(scene)

    stored = run(lambda db: upload(db, made, file))

    assert run(lambda db: sizes(db, stored.id)) == [PART_BYTES, PART_BYTES, len(file) - 2 * PART_BYTES]
    assert run(lambda db: downloaded(db, stored.id)) == file
    assert stored.status is CohortStatus.PROCESSING


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 10), (PART_BYTES - 3, 7), (100, 2 * PART_BYTES), (2_559_990, 100), (2_560_000, 5)]
)
def test_a_piece_of_a_file_is_read_from_any_offset(run: Run, offset: int, length: int) -> None:
    file = bytes(range(256)) * 10_000
    made = run(scene)
    stored = run(lambda db: upload(db, made, file))

    assert run(lambda db: read_file(db, stored.id, offset, length)) == file[offset : offset + length]


def test_the_mapping_is_kept_as_it_was_sent(run: Run) -> None:
    made = run(scene)

    stored = run(lambda db: upload(db, made, b"Mobile\n", MAPPING))

    assert run(lambda db: downloaded(db, stored.id, MAPPING_FILE)) == b'{"phone_number":{"column_name":"Mobile"}}'
    assert stored.has_mapping


@pytest.mark.parametrize("status", ["ended", "cancelled"])
def test_a_campaign_that_is_over_takes_no_cohort(run: Run, status: str) -> None:
    made = run(lambda db: scene(db, status=status))

    with pytest.raises(ConflictError, match=status):
        run(lambda db: upload(db, made, b"phone\n"))


def test_a_campaign_that_ends_while_the_file_is_stored_takes_it_no_more(run: Run) -> None:
    made = run(scene)

    async def ending(db: AsyncConnection) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"phone\n"
            await db.execute(text("UPDATE campaigns SET status = 'ended'"))

        await create_cohort(
            db,
            made.campaign_id,
            made.organization_id,
            name="List",
            source_type=SourceType.CSV,
            mapping=None,
            created_by="ann",
            chunks=chunks(),
        )

    with pytest.raises(ConflictError, match="ended"):
        run(ending)


def test_another_organization_sees_neither_campaign_nor_cohort(run: Run) -> None:
    made = run(scene)
    other = run(lambda db: organization(db, "Other"))
    stored = run(lambda db: upload(db, made, b"phone\n"))

    with pytest.raises(NotFoundError):
        run(lambda db: cohort(db, other, made.campaign_id, stored.id))
    with pytest.raises(NotFoundError):
        run(lambda db: upload(db, Scene(other, 0, made.campaign_id, 0, ()), b"phone\n"))
    assert run(lambda db: cohorts(db, other, made.campaign_id, Page())) == Listed([], 0)


def test_cohorts_are_listed_by_pages_the_newest_first(run: Run) -> None:
    made = run(scene)
    stored = [run(lambda db: upload(db, made, b"phone\n")) for _ in range(3)]

    page = run(lambda db: cohorts(db, made.organization_id, made.campaign_id, Page(offset=1, limit=2)))

    assert page == Listed([stored[1], stored[0]], 4)


def test_a_contact_belongs_to_a_cohort_of_its_campaign(run: Run) -> None:
    made = run(scene)
    stranger = text("""INSERT INTO contacts (organization_id, campaign_id, cohort_id, phone, due_at)
        SELECT organization_id, campaign_id, :cohort_id, '+14155550199', now() FROM contacts LIMIT 1""")

    with pytest.raises(IntegrityError, match="cohort"):
        run(lambda db: db.execute(stranger, {"cohort_id": made.cohort_id + 1}))


@pytest.mark.parametrize("phone", ["14155550199", "+04155550199", "+1415", "+1415555019x", "+14155550199123456"])
def test_a_contact_has_a_number_in_e164(run: Run, phone: str) -> None:
    run(scene)

    with pytest.raises(IntegrityError, match="phone"):
        run(lambda db: db.execute(text("UPDATE contacts SET phone = :phone"), {"phone": phone}))


async def upload(db: AsyncConnection, made: Scene, file: bytes, mapping: Mapping | None = None) -> Cohort:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(file), 700_000):
            yield file[start : start + 700_000]

    return await create_cohort(
        db,
        made.campaign_id,
        made.organization_id,
        name="List",
        source_type=SourceType.CSV,
        mapping=mapping,
        created_by="ann",
        chunks=chunks(),
    )


async def downloaded(db: AsyncConnection, cohort_id: int, file_type: str = "cohort") -> bytes:
    return b"".join([part async for part in file_parts(db, cohort_id, file_type)])


async def sizes(db: AsyncConnection, cohort_id: int) -> list[int]:
    query = text("SELECT length(data) FROM cohort_files WHERE cohort_id = :id ORDER BY part")
    return list((await db.execute(query, {"id": cohort_id})).scalars())


def test_an_upload_that_stands_still_is_given_up_and_what_was_accepted_stays(run: Run) -> None:
    made = run(scene)
    left, taken = (run(lambda db: uploads.begin(db, made.organization_id, made.campaign_id, "ann")) for _ in range(2))
    for upload_id in (left, taken):
        run(lambda db, one=upload_id: uploads.store(db, one, 0, b"phone\n"))  # type: ignore[misc]
    run(lambda db: uploads.accept(db, made.organization_id, made.campaign_id, taken, SAID))

    found = run(lambda db: uploads.abandoned(db, timedelta(0)))
    for upload_id in (left, taken):
        run(lambda db, one=upload_id: uploads.discard(db, one))  # type: ignore[misc]

    assert found == [left]
    assert run(lambda db: downloaded(db, taken)) == b"phone\n"
    assert run(lambda db: number_of(db, f"cohorts WHERE id = {left}")) == 0
    with pytest.raises(ConflictError, match="given up"):
        run(lambda db: uploads.store(db, left, 1, b"x"))
    with pytest.raises(ConflictError, match="given up"):
        run(lambda db: uploads.accept(db, made.organization_id, made.campaign_id, left, SAID))


def test_a_campaign_that_ends_while_a_file_arrives_takes_it_no_more(run: Run) -> None:
    made = run(scene)
    upload_id = run(lambda db: uploads.begin(db, made.organization_id, made.campaign_id, "ann"))
    run(lambda db: amend(db, "campaigns", made.campaign_id, status="cancelled"))

    with pytest.raises(ConflictError, match="cancelled"):
        run(lambda db: uploads.accept(db, made.organization_id, made.campaign_id, upload_id, SAID))
