"""Stop files: their numbers are taken off the campaign and stay off, whatever is read at the same time."""

import asyncio
from datetime import UTC, datetime

import orjson
import pytest

from domain.attempt import Report, Source
from domain.cohort import Category, CohortStatus
from infra.settings import Settings
from tests.builders import campaign, insert_contacts, phone
from tests.rows import claims, entry, miscounts
from tests.workers.ingest.desk import Desk
from tests.workers.ingest.test_ingest import working
from workers.recorder import Recorder
from workers.runtime import open_runtime

ANN, BOB, EVE = phone(0), phone(1), phone(2)


def test_the_numbers_of_a_stop_file_are_removed(desk: Desk) -> None:
    desk.read(desk.upload(f"phone\n{ANN}\n{BOB}\n"))

    stopped = desk.read(desk.stop(ANN, EVE))

    assert (stopped.category, stopped.status, stopped.valid_records) == (Category.STOP_FILE, CohortStatus.COMPLETED, 2)
    assert desk.execute("SELECT phone, state, due_at IS NULL FROM contacts ORDER BY phone") == [
        (ANN, "removed", True),
        (BOB, "ready", False),
    ]
    assert desk.do(miscounts) == []


def test_later_uploads_reject_stopped_numbers(desk: Desk) -> None:
    desk.read(desk.upload(f"phone\n{ANN}\n"))
    desk.read(desk.stop(ANN, EVE))

    later = desk.read(desk.upload(f"phone\n{ANN}\n{BOB}\n{EVE}\n{EVE}\n"))

    assert later.rejected_by_reason == {"stopped": 3}
    assert desk.states() == {ANN: "removed", BOB: "ready"}


def test_a_stop_file_counts_its_rows_like_any_other(desk: Desk) -> None:
    desk.read(desk.stop(ANN))

    stopped = desk.read(desk.stop(ANN, BOB, BOB, "call me", ""))

    assert stopped.rejected_by_reason == {
        "duplicate_in_campaign": 1, "duplicate_in_file": 1, "invalid_phone_number": 1,
    }  # fmt: skip
    assert (stopped.total_records, stopped.valid_records, stopped.rejected_records) == (4, 1, 3)


def test_a_stop_file_is_read_the_same_in_chunks_of_any_size(desk: Desk) -> None:
    desk.read(desk.upload("phone\n" + "\n".join(phone(index) for index in range(50))))
    numbers = [phone(index % 40) for index in range(60)]

    stopped = desk.with_limits(chunk_bytes=30).read(desk.stop(*numbers))

    assert (stopped.valid_records, stopped.rejected_by_reason) == (40, {"duplicate_in_file": 20})
    assert list(desk.states().values()).count("removed") == 40


def test_a_stop_file_of_one_campaign_leaves_others_alone(desk: Desk) -> None:
    other = desk.do(lambda db: campaign(db, desk.campaign.organization_id, [desk.campaign.connection_id]))
    desk.read(desk.stop(ANN))

    there = desk.there(other)

    assert there.read(there.upload(f"phone\n{ANN}\n")).valid_records == 1


def test_a_cohort_and_a_stop_file_read_at_once_leave_no_stopped_number_ready(desk: Desk) -> None:
    desk = desk.with_limits(max_rows=5000, chunk_bytes=500)
    numbers = [phone(index) for index in range(1000)]
    contacts, stops = desk.upload("phone\n" + "\n".join(numbers)), desk.stop(*reversed(numbers[::2]))

    async def at_once() -> None:
        await asyncio.gather(working(desk, contacts), working(desk, stops))

    desk.runner.run(at_once())

    states = desk.states()
    assert {states.get(number, "stopped") for number in numbers[::2]} <= {"removed", "stopped"}
    assert {states[number] for number in numbers[1::2]} == {"ready"}
    assert desk.cohort(contacts).total_records == 1000
    assert desk.do(miscounts) == []


@pytest.mark.parametrize(("status", "state"), [("no_answer", "removed"), ("completed", "done"), ("void", "removed")])
def test_who_is_dialing_finishes_the_call_and_is_not_retried(
    desk: Desk, settings: Settings, status: str, state: str
) -> None:
    retries = {"max_retries": 3, "retry_interval_minutes": 5, "retry_on": {"no_answer": {"enabled": True}}}
    desk.execute(
        "UPDATE campaigns SET spec = jsonb_set(spec, '{app_config,retry_config}', CAST(:retries AS jsonb))",
        retries=orjson.dumps(retries).decode(),
    )
    desk.execute("UPDATE campaign_revisions r SET spec = c.spec FROM campaigns c WHERE c.id = r.campaign_id")
    [ann] = desk.do(lambda db: insert_contacts(db, desk.campaign.cohort_id, [ANN]))
    [claimed], _ = desk.do(lambda db: claims(db, [entry(desk.campaign, ann)]))

    desk.read(desk.stop(ANN))
    during = desk.states()
    desk.runner.run(recorded(settings, Report(claimed.attempt_id, status, Source.DIALER, datetime.now(UTC))))

    assert during == {ANN: "dialing"}
    assert desk.states() == {ANN: state}
    assert desk.execute("SELECT next_attempt_at FROM attempts") == [(None,)]
    assert desk.do(miscounts) == []


def test_a_stopped_number_is_not_claimed(desk: Desk) -> None:
    [ann] = desk.do(lambda db: insert_contacts(db, desk.campaign.cohort_id, [ANN]))
    granted = entry(desk.campaign, ann)
    desk.read(desk.stop(ANN))

    claimed, [refused] = desk.do(lambda db: claims(db, [granted]))

    assert (claimed, refused.reason) == ([], "contact")


async def recorded(settings: Settings, report: Report) -> None:
    async with open_runtime(settings) as runtime:
        await Recorder(runtime).record(report)
