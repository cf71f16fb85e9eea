"""The lists of attempts and contacts: filtered, paged by cursor, exported."""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests import builders
from tests.builders import CALLERS, phone
from tests.workers.web.asking import Api

T0 = datetime(2026, 5, 20, 17, tzinfo=UTC)
ATTEMPT = text("""
    INSERT INTO attempts (organization_id, campaign_id, cohort_id, contact_id, run, number, epoch, connection_id, phone,
        caller, slot_at, started_at, ended_at, claim_token, claimed_by, outcome, provider_ref)
    SELECT k.organization_id, k.campaign_id, k.cohort_id, k.id, 1, :number, 1, :connection_id, k.phone, :caller,
        :slot_at, :slot_at, :slot_at, gen_random_uuid(), 'test', :outcome, 'ref'
    FROM contacts k WHERE k.id = :contact_id
""")


@dataclass(frozen=True)
class Ledger:
    campaign_id: int
    cohort_id: int
    contact_ids: tuple[int, ...]

    def path(self, what: str) -> str:
        return f"/api/campaigns/{self.campaign_id}/{what}"


@pytest.fixture
def ledger(api: Api) -> Ledger:
    """Five contacts; the first three were tried a minute apart: completed, busy, and one that is open."""

    async def prepare(db: AsyncConnection) -> Ledger:
        connection_id = await builders.connection(db, api.organization_id)
        campaign_id = await builders.campaign(db, api.organization_id, [connection_id])
        cohort_id = await builders.cohort(db, campaign_id)
        contact_ids = await builders.insert_contacts(db, cohort_id, [phone(index) for index in range(5)])
        for index, outcome in enumerate(("completed", "busy", None)):
            values = {"connection_id": connection_id, "caller": CALLERS[0], "number": 1, "outcome": outcome}
            slot = {"contact_id": contact_ids[index], "slot_at": T0 + timedelta(minutes=index)}
            await db.execute(ATTEMPT, values | slot)
        states = "UPDATE contacts SET state = :state, due_at = NULL, attempts = 1 WHERE id = :id"
        await db.execute(text(states), {"state": "done", "id": contact_ids[0]})
        await db.execute(text(states), {"state": "dialing", "id": contact_ids[2]})
        return Ledger(campaign_id, cohort_id, contact_ids)

    return api.rows(prepare)


def items(api: Api, path: str) -> list[dict[str, Any]]:
    answer = api("GET", path)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_an_attempt_shows_who_called_whom_when_and_how_it_went(api: Api, ledger: Ledger) -> None:
    first = items(api, ledger.path("attempts"))[0]

    assert (first["contact"], first["number"], first["run"]) == (ledger.contact_ids[0], 1, 1)
    assert (first["from"], first["to"]) == (CALLERS[0], phone(0))
    assert (first["slot_at"], first["outcome"]) == ("2026-05-20T17:00:00.000Z", "completed")


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [0, 1, 2]),
        ("outcome=busy", [1]),
        ("outcome=busy&outcome=completed", [0, 1]),
        ("status=open", [2]),
        ("status=ended", [0, 1]),
        ("since=2026-05-20T17:01:00Z", [1, 2]),
        ("since=2026-05-20T17:01:00.000001Z", [2]),
        ("run=1", [0, 1, 2]),
        ("run=2", []),
        ("cohort=999", []),
    ],
)
def test_attempts_are_filtered(api: Api, ledger: Ledger, query: str, numbers: list[int]) -> None:
    found = items(api, ledger.path(f"attempts?{query}"))

    assert [one["to"] for one in found] == [phone(number) for number in numbers]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("status=ready", [1, 3, 4]),
        ("status=done&status=dialing", [0, 2]),
        ("status=expired", []),
        ("outcome=busy", [1]),
        ("since=2026-05-20T17:01:00Z", [1, 2]),
        ("cohort=999", []),
        ("run=1", [0, 1, 2, 3, 4]),
        ("run=2", []),
    ],
)
def test_contacts_are_filtered(api: Api, ledger: Ledger, query: str, numbers: list[int]) -> None:
    found = items(api, ledger.path(f"contacts?{query}"))

    assert [one["phone_number"] for one in found] == [phone(number) for number in numbers]


def test_contacts_of_a_campaign_that_is_over_are_found_by_what_they_show(api: Api, ledger: Ledger) -> None:
    api("PUT", ledger.path("status"), json={"action": "cancel"})

    found = items(api, ledger.path("contacts?status=cancelled"))

    assert [one["phone_number"] for one in found] == [phone(1), phone(3), phone(4)]
    assert {one["state"] for one in found} == {"cancelled"}
    assert items(api, ledger.path("contacts?status=ready")) == []


def test_a_ready_contact_says_what_it_waits_for(api: Api, ledger: Ledger) -> None:
    api("PUT", ledger.path("status"), json={"action": "pause"})

    waiting = {one["phone_number"]: one["waiting_for"] for one in items(api, ledger.path("contacts"))}

    assert waiting == {phone(0): None, phone(1): "paused", phone(2): None, phone(3): "paused", phone(4): "paused"}


@pytest.mark.parametrize(("what", "key", "total"), [("attempts", "attempt_id", 3), ("contacts", "contact_id", 5)])
def test_pages_follow_each_other_without_gap_or_double(
    api: Api, ledger: Ledger, what: str, key: str, total: int
) -> None:
    seen: list[int] = []
    query = "limit=2"

    while query:
        page = api("GET", ledger.path(f"{what}?{query}")).json()
        seen += [one[key] for one in page["items"]]
        query = page["next_cursor"] and f"limit=2&cursor={page['next_cursor']}"

    assert len(seen) == len(set(seen)) == total


def test_attempts_that_sent_nothing_are_listed_only_when_asked_for(api: Api, ledger: Ledger) -> None:
    void = text("UPDATE attempts SET outcome = 'void' WHERE outcome = 'busy'")
    api.rows(lambda db: db.execute(void))

    assert [one["outcome"] for one in items(api, ledger.path("attempts"))] == ["completed", None]
    assert [one["outcome"] for one in items(api, ledger.path("attempts?outcome=void"))] == ["void"]


def test_attempts_of_one_instant_are_not_lost_between_pages(api: Api, ledger: Ledger) -> None:
    api.rows(lambda db: db.execute(text("UPDATE attempts SET slot_at = '2026-05-20T17:00:00.123456Z'")))

    first = api("GET", ledger.path("attempts?limit=2")).json()
    second = api("GET", ledger.path(f"attempts?cursor={first['next_cursor']}")).json()

    assert (len(first["items"]), len(second["items"])) == (2, 1)


@pytest.mark.parametrize("what", ["attempts", "contacts"])
@pytest.mark.parametrize("cursor", ["x", "-1", "1-", "9" * 39, "99999999999999999999-1"])
def test_a_foreign_cursor_is_refused(api: Api, ledger: Ledger, what: str, cursor: str) -> None:
    answer = api("GET", ledger.path(f"{what}?cursor={cursor}"))

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == "cursor"


def test_cursors_carry_no_phone_number(api: Api, ledger: Ledger) -> None:
    cursors = [api("GET", ledger.path(f"{what}?limit=1")).json()["next_cursor"] for what in ("attempts", "contacts")]

    assert not any(phone(0)[1:] in cursor for cursor in cursors)


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.web.keyset.CSV_PAGE", 2)


@pytest.mark.usefixtures("short_pages")
@pytest.mark.parametrize(("what", "column", "total"), [("attempts", "to", 3), ("contacts", "phone_number", 5)])
def test_lists_are_exported_as_csv_in_full(api: Api, ledger: Ledger, what: str, column: str, total: int) -> None:
    answer = api("GET", ledger.path(f"{what}?limit=1"), headers={"Accept": "application/json;q=0.5, text/csv"})

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert [row[column] for row in rows] == [phone(index) for index in range(total)]


def test_cells_that_a_spreadsheet_would_run_are_neutralised(api: Api, ledger: Ledger) -> None:
    api.rows(lambda db: db.execute(text("UPDATE contacts SET user_identifier = '=cmd()'")))

    answer = api("GET", ledger.path("contacts"), headers={"Accept": "text/csv"})

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows[0]["user_identifier"] == "'=cmd()"
    assert rows[0]["phone_number"] == phone(0)


@pytest.mark.parametrize("what", ["attempts", "contacts"])
def test_an_export_of_nothing_still_has_its_header(api: Api, ledger: Ledger, what: str) -> None:
    answer = api("GET", ledger.path(f"{what}?cohort=999"), headers={"Accept": "text/csv"})

    lines = answer.text.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("attempt_id,contact," if what == "attempts" else "contact_id,cohort_id,")


def test_what_a_cell_holds_comes_back_as_it_was(api: Api, ledger: Ledger) -> None:
    odd = 'say "hi", then\nbye; ok'
    api.rows(lambda db: db.execute(text("UPDATE contacts SET user_identifier = :odd"), {"odd": odd}))

    answer = api("GET", ledger.path("contacts"), headers={"Accept": "text/csv"})

    assert {row["user_identifier"] for row in csv.DictReader(io.StringIO(answer.text, newline=""))} == {odd}


@pytest.mark.parametrize(
    ("query", "total"),
    [("attempts?outcome=busy", 1), ("attempts?outcome=failed", 0), ("contacts?status=done", 1), ("contacts?run=9", 0)],
)
def test_a_filter_that_passes_hardly_any_is_sought_in_short_statements_to_the_end(
    api: Api, ledger: Ledger, query: str, total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.db.ledger.SCANNED_AT_ONCE", 1)
    monkeypatch.setattr("infra.db.contacts.SCANNED_AT_ONCE", 1)

    answer = api("GET", ledger.path(query)).json()

    assert (len(answer["items"]), answer["next_cursor"]) == (total, None)


@pytest.mark.parametrize(("query", "total"), [("attempts?outcome=busy&", 1), ("contacts?status=ready&", 3)])
def test_a_page_that_takes_too_long_ends_with_a_cursor_to_go_on(
    api: Api, ledger: Ledger, query: str, total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.db.ledger.SCANNED_AT_ONCE", 1)
    monkeypatch.setattr("infra.db.contacts.SCANNED_AT_ONCE", 1)
    monkeypatch.setattr("workers.web.keyset.SEEK_SECONDS", -1)
    found, cursor, pages = [], "", 0

    while cursor is not None and pages < 10:
        page = api("GET", ledger.path(query) + (f"cursor={cursor}" if cursor else "")).json()
        found += page["items"]
        cursor, pages = page["next_cursor"], pages + 1

    assert cursor is None
    assert pages > len(found) == total


def test_an_export_reads_on_where_a_filter_passes_hardly_any(
    api: Api, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.db.contacts.SCANNED_AT_ONCE", 1)

    export = api("GET", ledger.path("contacts?status=ready"), headers={"Accept": "text/csv"})

    assert len(list(csv.reader(io.StringIO(export.text)))) == 1 + 3
