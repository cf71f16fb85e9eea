import asyncio
from typing import Any

import asyncpg
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cohort import CohortStatus, SourceType
from domain.cohort_file import LONGEST_RECORD_BYTES
from infra.db.ingest import add_contacts, advance
from tests.builders import campaign, phone
from tests.workers.ingest.desk import Desk
from workers.ingest import ingest as ingesting
from workers.ingest.chunk import Reader
from workers.ingest.ingest import step

MAPPING = {
    "phone_number": {"column_name": "Mobile"},
    "user_identifier": {"column_name": "ID", "required": True},
    "timezone": {"column_name": "tz"},
    "variables": {"first_name": {"column_name": "First name"}},
}
ROWS = [
    "+14155550133,Ann",
    "4155550134,Bob",
    "call me,Eve",
    "+14155550133,Ann again",
    "+14155550135",
    "(415) 555-0136,Zoë",
]
MIXED = "phone,name\n" + "\n".join(ROWS) + "\n"


def test_rows_are_counted_valid_or_rejected(desk: Desk) -> None:
    cohort_id = desk.upload("phone\n4155550133\n4155550134\nnobody\n")

    desk.read(cohort_id)

    rows = desk.metrics.registry.get_sample_value
    assert rows("outdial_ingest_rows_total", {"result": "valid"}) == 2
    assert rows("outdial_ingest_rows_total", {"result": "rejected"}) == 1


def test_rows_become_contacts_or_rejections(desk: Desk) -> None:
    cohort_id = desk.upload(MIXED)

    cohort = desk.read(cohort_id)

    assert cohort.status is CohortStatus.COMPLETED
    assert (cohort.total_records, cohort.valid_records, cohort.rejected_records) == (6, 3, 3)
    assert cohort.rejected_by_reason == {"invalid_phone_number": 1, "duplicate_in_file": 1, "wrong_column_count": 1}
    assert desk.phones(cohort_id) == ["+14155550133", "+14155550134", "+14155550136"]
    assert desk.rejected(cohort_id) == {4: "invalid_phone_number", 5: "duplicate_in_file", 6: "wrong_column_count"}


def test_a_contact_has_what_the_mapping_names(desk: Desk) -> None:
    cohort_id = desk.upload("\ufeffID;Mobile;First name;tz;Note\r\nu-1;4155550133;Zoë;Europe/Paris;x\r\n", MAPPING)

    desk.read(cohort_id)

    [contact] = desk.execute("SELECT phone, user_identifier, timezone, variables ->> 'first_name', state FROM contacts")
    assert contact == ("+14155550133", "u-1", "Europe/Paris", "Zoë", "ready")


def test_users_are_read_on_the_same_path(desk: Desk) -> None:
    users = [{"phone_number": "4155550133", "variables": {"tier": 3}}, {"phone_number": "nobody"}, {"timezone": "UTC"}]
    cohort_id = desk.upload(b"".join(orjson.dumps(u) + b"\n" for u in users), source_type=SourceType.JSON)

    cohort = desk.read(cohort_id)

    assert (cohort.status, cohort.total_records) == (CohortStatus.COMPLETED, 3)
    assert desk.execute("SELECT phone, variables ->> 'tier' FROM contacts") == [("+14155550133", "3")]
    assert desk.rejected(cohort_id) == {2: "invalid_phone_number", 3: "missing_phone_number"}


def test_a_number_that_another_cohort_brought_is_a_duplicate_in_the_campaign(desk: Desk) -> None:
    desk.read(desk.upload("phone\n+14155550133\n"))
    cohort_id = desk.upload("phone\n+14155550133\n+14155550134\n+14155550133\n+14155550134\n")

    cohort = desk.read(cohort_id)

    assert cohort.rejected_by_reason == {"duplicate_in_campaign": 2, "duplicate_in_file": 1}
    assert desk.rejected(cohort_id) == {2: "duplicate_in_campaign", 4: "duplicate_in_campaign", 5: "duplicate_in_file"}


def test_an_opted_out_number_is_rejected(desk: Desk) -> None:
    organization_id = desk.campaign.organization_id
    desk.execute("INSERT INTO opt_outs VALUES (:id, '+14155550133', 'ann')", id=organization_id)
    cohort_id = desk.upload("phone\n4155550133\n+14155550134\n4155550133\n")

    desk.read(cohort_id)

    assert desk.rejected(cohort_id) == {2: "opted_out", 4: "opted_out"}


def test_a_row_without_a_variable_that_the_message_requires_is_rejected(desk: Desk) -> None:
    said = "UPDATE campaigns SET spec = jsonb_set(spec, '{app_config,message}', '\"Hi {{name}}, {{day|soon}}\"')"
    desk.execute(said)
    cohort_id = desk.upload("phone,name\n4155550133,Ann\n4155550134, \n")

    desk.read(cohort_id)

    assert desk.rejected(cohort_id) == {3: "missing_variable:name"}
    assert desk.read(desk.stop("4155550133")).valid_records == 1


@pytest.mark.parametrize(
    ("file", "mapping", "told"),
    [
        (b"", None, "no header"),
        (b"phone,name\n", None, "no data row"),
        (b"phone,name\r\n\r\n\r\n", None, "no data row"),
        (b"name,email\nAnn,ann@example.org\n", None, "its columns are 'name', 'email'"),
        (b"phone,name\n+14155550133,Ann\n", MAPPING, "the header lacks 'Mobile', 'tz', 'ID', 'First name'"),
        (b"phone,phone\n1,2\n", None, "more than once"),
        (MIXED.encode("utf-16"), None, "UTF-16"),
        (MIXED.encode("latin-1"), None, "not UTF-8"),
        (b"\x1f\x8b\x08\0" + bytes(range(256)), None, "gzip"),
        (bytes(range(1, 256)) * 100, None, "not UTF-8"),
        (b"phone,n\0me\n", None, "NUL"),
        (b",".join([b"phone", *(b"c%d" % n for n in range(10))]) + b"\n", None, "11 columns; at most 10"),
        (b"phone,name\n" + b"x" * (LONGEST_RECORD_BYTES + 2), None, "line 2 is longer than 4 MiB"),
    ],
)
def test_a_file_that_cannot_be_used_fails_with_its_reason(
    desk: Desk, file: bytes, mapping: dict[str, object] | None, told: str
) -> None:
    cohort = desk.read(desk.upload(file, mapping))

    assert cohort.status is CohortStatus.FAILED
    assert told in (cohort.error or "")
    assert (cohort.total_records, desk.execute("SELECT count(*) FROM contacts")) == (0, [(0,)])


def test_a_bad_byte_far_into_a_file_rejects_its_row_alone(desk: Desk) -> None:
    cohort_id = desk.upload(b"phone,name\n4155550133,Ann\n4155550134,\xff\n4155550135,Bob\n4155550136,\0\n")

    cohort = desk.with_limits(head_bytes=20).read(cohort_id)

    assert (cohort.status, cohort.total_records) == (CohortStatus.COMPLETED, 4)
    assert desk.rejected(cohort_id) == {3: "not_text", 5: "not_text"}


def test_a_quote_that_never_closes_rejects_its_line_alone(desk: Desk) -> None:
    cohort_id = desk.upload('phone,name\n4155550133,"Ann\n4155550134,Bob\n4155550135,"Eve"\n')

    desk.read(cohort_id)

    assert desk.rejected(cohort_id) == {2: "malformed_quotes"}
    assert desk.phones(cohort_id) == ["+14155550134", "+14155550135"]


def test_a_file_with_too_many_rows_fails_with_the_first_ones_read(desk: Desk) -> None:
    cohort = desk.with_limits(max_rows=4, chunk_bytes=40).read(desk.upload(MIXED))

    assert (cohort.status, cohort.total_records, cohort.valid_records) == (CohortStatus.FAILED, 4, 2)
    assert "more than 4 rows" in (cohort.error or "")


def test_rejected_rows_are_given_back_as_they_were(desk: Desk) -> None:
    cohort_id = desk.upload('phone,name\ncall me,"=cmd|\' /C calc\'!A0"\n+14155550133,"Ann\nLee",x\nnobody\n')
    desk.read(cohort_id)

    assert desk.rejected_csv(cohort_id) == (
        "phone,name,line_number,rejected_reason\r\n"
        "call me,'=cmd|' /C calc'!A0,2,invalid_phone_number\r\n"
        '+14155550133,"Ann\nLee",x,3,wrong_column_count\r\n'
        "nobody,,5,wrong_column_count\r\n"
    )


def test_a_worker_that_dies_inside_a_chunk_leaves_nothing_of_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = desk.with_limits(chunk_bytes=40)
    cohort_id = desk.upload(MIXED)
    for _ in ("the header", "two good rows", "two bad ones"):
        desk.read_chunk(cohort_id)
    before = desk.cohort(cohort_id)

    monkeypatch.setattr(ingesting, "add_contacts", dying_after_the_insert)
    with pytest.raises(ConnectionResetError):
        desk.read_chunk(cohort_id)
    monkeypatch.undo()

    assert desk.cohort(cohort_id) == before
    assert before.total_records == 4
    read = desk.read(cohort_id)
    assert (read.total_records, read.valid_records) == (6, 3)
    assert desk.phones(cohort_id) == ["+14155550133", "+14155550134", "+14155550136"]


async def dying_after_the_insert(*arguments: object) -> None:
    await add_contacts(*arguments)  # type: ignore[arg-type]
    raise ConnectionResetError


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        ([RuntimeError("handler is closed")], CohortStatus.COMPLETED),  # what a driver says when it is cut off
        ([TypeError(ROWS[0]), TypeError(ROWS[0])], CohortStatus.FAILED),
    ],
)
def test_a_reading_that_breaks_once_is_tried_again_and_one_that_breaks_twice_has_failed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, faults: list[Exception], status: CohortStatus
) -> None:
    async def break_off(*step: Any) -> None:
        if left:
            raise left.pop()
        await advance(*step)

    left = [*faults]
    monkeypatch.setattr(ingesting, "advance", break_off)

    cohort = desk.read(desk.upload(MIXED))

    assert (cohort.status, left) == (status, [])
    assert ("the worker's log" in (cohort.error or "")) == (status is CohortStatus.FAILED)
    assert ROWS[0] not in (cohort.error or "")


def test_a_reading_that_the_database_broke_off_is_tried_again_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def time_out(*_: object) -> None:
        raise asyncpg.QueryCanceledError

    cohort_id = desk.upload(MIXED)
    monkeypatch.setattr(ingesting, "advance", time_out)
    with pytest.raises(asyncpg.QueryCanceledError):
        desk.read(cohort_id)
    monkeypatch.undo()

    assert desk.cohort(cohort_id).status is CohortStatus.PROCESSING
    assert desk.read(cohort_id).status is CohortStatus.COMPLETED


def test_a_worker_that_stops_between_chunks_is_followed_by_another(desk: Desk) -> None:
    desk = desk.with_limits(chunk_bytes=40)
    cohort_id = desk.upload(MIXED)
    stop = asyncio.Event()
    stop.set()
    desk.read_chunk(cohort_id)
    desk.read_chunk(cohort_id)

    desk.runner.run(ingesting.ingest(desk.database, desk.limits, desk.metrics, cohort_id, stop))

    assert desk.cohort(cohort_id).status is CohortStatus.PROCESSING
    assert desk.read(cohort_id).status is CohortStatus.COMPLETED
    assert desk.cohort(cohort_id).total_records == 6


def test_two_workers_on_one_cohort_do_no_chunk_twice(desk: Desk) -> None:
    desk = desk.with_limits(chunk_bytes=64)
    numbers = [phone(index) for index in range(300)]
    cohort_id = desk.upload("phone\n" + "\n".join(numbers) + "\n")

    async def at_once() -> None:
        await asyncio.gather(*(working(desk, cohort_id) for _ in range(4)))

    desk.runner.run(at_once())

    assert desk.cohort(cohort_id).valid_records == 300
    assert desk.phones(cohort_id) == numbers


async def working(desk: Desk, cohort_id: int) -> None:
    """Like the sweep: comes back as long as the cohort is not done."""
    reader = Reader(desk.limits.chunk_bytes)
    while True:
        if not await step(desk.database, desk.limits, desk.metrics, cohort_id, reader):
            async with desk.database.begin() as connection:
                if await is_done(connection, cohort_id):
                    return


async def is_done(connection: AsyncConnection, cohort_id: int) -> bool:
    status = await connection.exec_driver_sql("SELECT status FROM cohorts WHERE id = $1", (cohort_id,))
    return str(status.scalar_one()) == "completed"


def test_two_cohorts_with_the_same_numbers_share_them_without_a_deadlock(desk: Desk) -> None:
    desk = desk.with_limits(max_rows=5000, chunk_bytes=100_000)
    numbers = [phone(index) for index in range(5000)]
    there = desk.upload("phone\n" + "\n".join(numbers))
    back = desk.upload("phone\n" + "\n".join(reversed(numbers)))

    async def at_once() -> None:
        await asyncio.gather(working(desk, there), working(desk, back))

    desk.runner.run(at_once())

    assert desk.cohort(there).valid_records + desk.cohort(back).valid_records == 5000
    assert desk.cohort(there).rejected_records + desk.cohort(back).rejected_records == 5000


@pytest.mark.parametrize(("status", "state"), [("cancelled", "cancelled"), ("ended", "expired"), ("paused", "ready")])
def test_what_is_read_after_the_end_is_settled_at_once(desk: Desk, status: str, state: str) -> None:
    cohort_id = desk.upload("phone\n4155550133\n")
    desk.execute("UPDATE campaigns SET status = :status", status=status)

    desk.read(cohort_id)

    assert desk.execute("SELECT state FROM contacts") == [(state,)]


def test_campaigns_do_not_share_their_numbers(desk: Desk) -> None:
    other = desk.do(lambda db: campaign(db, desk.campaign.organization_id, [desk.campaign.connection_id]))
    desk.read(desk.upload(MIXED))

    desk.there(other).read(desk.there(other).upload(MIXED))

    assert desk.execute("SELECT count(*) FROM contacts GROUP BY campaign_id") == [(3,), (3,)]


CELLS = st.sampled_from(["4155550133", "+14155550134", "x", "", '"a\nb"', '"', 'é"', "\r", "\ud800", "4155550135"])
FILES = st.lists(st.lists(CELLS, min_size=1, max_size=3).map(",".join), max_size=12).map("\n".join)


@given(file=FILES, chunk_bytes=st.integers(min_value=1, max_value=60))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chunks_of_any_size_give_the_same_rows(desk: Desk, file: str, chunk_bytes: int) -> None:
    data = b"phone,name\n" + file.encode(errors="surrogatepass")
    desk = desk.with_limits(head_bytes=11)
    whole = desk.upload(data)
    expected = desk.read(whole)
    rows = desk.phones(whole), desk.rejected(whole)
    forget(desk)

    pieces = desk.upload(data)
    found = desk.with_limits(chunk_bytes=chunk_bytes).read(pieces)

    assert (desk.phones(pieces), desk.rejected(pieces)) == rows
    assert (found.status, found.total_records) == (expected.status, expected.total_records)
    assert found.total_records == len(rows[0]) + len(rows[1])
    forget(desk)


def forget(desk: Desk) -> None:
    desk.execute("TRUNCATE contacts, rejected_records CASCADE")
