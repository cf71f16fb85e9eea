"""Erasing a person: nothing that is stored holds the number any more, and the number stays opted out."""

import asyncio
import codecs
import gzip
import re
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Report, Source
from infra.db import erasures
from tests import builders
from tests.builders import Scene
from tests.rows import amend, claimed, contradictions, miscounts, number_of
from tests.workers.web.asking import Api, token
from workers.erasing import erase_all
from workers.ingest.ingest import ingest, limits
from workers.recorder import Recorder

PHONE = "+14155552671"
OTHER = "+14155552672"
FORMS = ("+14155552671", "14155552671", "4155552671", "(415) 555-2671", "415 555 2671")
CSV = (
    "Phone,Name,Note\r\n"
    "415 555 2671,Jamie Doe,first\r\n"
    "+14155552672,Casey,second\r\n"
    '(415) 555-2671,Jamie Doe,"again\r\nand again"\r\n'
    "+1 415 555 2671 ext 9,Jamie Doe,invalid\r\n"
    "12,Nobody,invalid\r\n"
)


ROW = f"{PHONE},Jamie Doe\n"
UNREADABLE = [
    f"\0{ROW}".encode(),
    ROW.encode("utf-16"),
    codecs.BOM_UTF16_BE + ROW.encode("utf-16-be"),
    b"PK\x03\x04" + zlib.compress(ROW.encode()),
    gzip.compress(ROW.encode()),
]


def made(api: Api, *, status: str = "active") -> Scene:
    async def prepare(db: AsyncConnection) -> Scene:
        route = await builders.connection(db, api.organization_id)
        campaign_id = await builders.campaign(db, api.organization_id, [route], status=status)
        return Scene(api.organization_id, route, campaign_id, 0, ())

    return api.rows(prepare)


def with_contact(api: Api, campaign: Scene, phones: Sequence[str] = (PHONE, OTHER)) -> Scene:
    async def prepare(db: AsyncConnection) -> Scene:
        cohort_id = await builders.cohort(db, campaign.campaign_id)
        ids = await builders.insert_contacts(db, cohort_id, phones)
        return Scene(campaign.organization_id, campaign.connection_id, campaign.campaign_id, cohort_id, ids)

    return api.rows(prepare)


def uploaded(api: Api, campaign: Scene, file: str | bytes = CSV, **fields: str) -> int:
    answer = api(
        "POST",
        f"/api/campaigns/{campaign.campaign_id}/cohorts/upload",
        files={"cohort_file": ("people.csv", file.encode() if isinstance(file, str) else file)},
        data=fields,
    )
    assert answer.status_code == 202, answer.text
    cohort_id = int(answer.json()["cohort_id"])
    read(api, cohort_id)
    return cohort_id


def read(api: Api, cohort_id: int) -> None:
    runtime = api.runtime
    api.runner.run(ingest(runtime.database, limits(runtime.settings), runtime.metrics, cohort_id, asyncio.Event()))


def result(api: Api, campaign: Scene, cohort_id: int) -> Any:
    return api("GET", f"/api/campaigns/{campaign.campaign_id}/cohorts/{cohort_id}").json()["result"]


def ask(api: Api, number: str = PHONE) -> Any:
    answer = api("POST", "/api/contacts/erase", json={"phoneNumber": number})
    assert answer.status_code == 202, answer.text
    return answer.json()


def erase(api: Api) -> None:
    api.runner.run(erase_all(api.runtime.database, asyncio.Event()))


def stands(api: Api, erasure_id: int) -> Any:
    return api("GET", f"/api/contacts/erasures/{erasure_id}").json()


def call(api: Api, there: Scene, outcome: str = "completed") -> None:
    """Everybody of the scene has had a call that ended so."""

    async def recorded(db: AsyncConnection) -> None:
        ids = await claimed(db, there)
        await db.execute(text("UPDATE attempts SET provider_status = phone || ' hung up', answered_by = phone"))
        for attempt_id in ids:
            await amend(db, "attempts", attempt_id, outcome=outcome, ended_at=None, provider_ref="CA1", look_at=None)
        statement = "UPDATE contacts SET state = 'done' WHERE campaign_id = :id AND state = 'dialing'"
        await db.execute(text(statement), {"id": there.campaign_id})

    api.rows(recorded)


async def columns(db: AsyncConnection) -> list[tuple[str, str]]:
    rows = await db.execute(
        text("""SELECT c.table_name, c.column_name FROM information_schema.columns c
                JOIN information_schema.tables t USING (table_schema, table_name)
                WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
                    AND c.data_type IN ('text', 'bytea', 'jsonb', 'json', 'ARRAY', 'character varying')
                ORDER BY 1, 2""")
    )
    return [(row.table_name, row.column_name) for row in rows]


async def everything(db: AsyncConnection) -> dict[str, str]:
    """All that is stored in columns that could hold a number, by table and column."""
    found = {}
    for table, column in await columns(db):
        rows = await db.execute(text(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL'))
        found[f"{table}.{column}"] = "\n".join(
            value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in rows.scalars()
        )
    return found


def holding(api: Api, *forms: str) -> set[str]:
    """Which columns hold the number in one of these forms, or the digits of it however they are spaced."""
    spaced = re.compile(r"\D{0,3}".join("4155552671"))
    stored = api.rows(everything)
    return {
        place
        for place, what in stored.items()
        if any(form in what for form in forms) or ("4155552671" in forms and spaced.search(what))
    }


def test_d5_after_an_erasure_no_column_of_any_table_holds_the_number(api: Api) -> None:
    campaign, over = made(api), made(api, status="active")
    keyed = {"Idempotency-Key": "contact-14155552671"}
    api("POST", "/api/contacts", json={"phoneNumber": PHONE, "firstName": "Jamie Doe"}, headers=keyed)
    api("POST", "/api/contacts", json={"phoneNumber": OTHER}, headers={"Idempotency-Key": "2"})
    uploaded(api, campaign)
    uploaded(api, campaign)
    users = [{"phone_number": "(415) 555-2671", "user_identifier": "Jamie Doe", "variables": {"phone": PHONE}}]
    users += [{"phone_number": PHONE, "variables": {"name": "Jamie Doe"}}]
    path = f"/api/campaigns/{over.campaign_id}/cohorts"
    read(api, api("POST", path, json={"name": "List", "users": users}).json()["cohort_id"])
    uploaded(api, over, f"phone,name\n{PHONE},Jamie Doe\n{OTHER},x\n", cohort_category="stop_file")
    call(api, with_contact(api, made(api)))
    api("POST", "/api/opt-outs", json={"phone_number": PHONE})
    before = holding(api, *FORMS)

    asked = ask(api)
    erase(api)

    assert stands(api, asked["erasureId"])["status"] == "erased"
    assert holding(api, *FORMS, "Jamie Doe") == set()
    assert {
        "attempts.phone", "cohort_files.data", "contacts.phone", "idempotency_keys.key", "opt_outs.phone",
        "people.phone", "rejected_records.cells", "stopped_numbers.phone",
    } <= before  # fmt: skip


def test_what_a_provider_says_of_somebody_who_was_erased_is_taken_and_names_nobody(api: Api) -> None:
    """A callback that is sent again a day later: it is not to come a third time."""
    there = with_contact(api, made(api), [PHONE])
    call(api, there, "void")
    ask(api)
    erase(api)
    late = Report(1, f"{PHONE} hung up", Source.CALLBACK, datetime.now(UTC), duration_seconds=9)
    late = late._replace(ref=f"call to {PHONE}", answered_by=PHONE)

    known = api.runner.run(Recorder(api.runtime).record(late, there.connection_id))

    assert known
    assert holding(api, *FORMS) == set()
    assert api.rows(lambda db: number_of(db, "contacts WHERE state = 'opted_out' AND due_at IS NULL")) == 1


@pytest.mark.parametrize("word", ["human", "machine", "unknown"])
def test_who_answered_stays_when_the_word_names_nobody(api: Api, word: str) -> None:
    there = with_contact(api, made(api), [PHONE])
    call(api, there)
    api.rows(lambda db: amend(db, "attempts", 1, answered_by=word))

    ask(api)
    erase(api)

    assert api.rows(lambda db: number_of(db, f"attempts WHERE answered_by = '{word}'")) == 1


def test_everybody_else_stays(api: Api) -> None:
    campaign = made(api)
    first = uploaded(api, campaign)
    api("POST", "/api/contacts", json={"phoneNumber": OTHER})

    ask(api)
    erase(api)

    file = api("GET", f"/api/campaigns/{campaign.campaign_id}/cohorts/{first}/files?file_type=cohort").text
    assert len(file) == len(CSV)
    assert [line for line in file.split("\r\n") if "erased" not in line and line.strip()] == [
        "Phone,Name,Note", "+14155552672,Casey,second", "12,Nobody,invalid"
    ]  # fmt: skip
    assert (
        "12,Nobody"
        in api("GET", f"/api/campaigns/{campaign.campaign_id}/cohorts/{first}/files?file_type=rejected_records").text
    )
    assert api("GET", "/api/contacts").json()["total"] == 1


def test_counts_the_ledger_and_the_audit_of_the_cohort_go_on_holding(api: Api) -> None:
    campaign = made(api)
    cohort_id = uploaded(api, campaign)
    call(api, with_contact(api, made(api)))
    before = result(api, campaign, cohort_id)
    attempts = api.rows(lambda db: number_of(db, "attempts"))

    ask(api)
    erase(api)

    assert result(api, campaign, cohort_id) == before
    assert api.rows(lambda db: number_of(db, "attempts")) == attempts
    assert (api.rows(miscounts), api.rows(contradictions)) == ([], [])


def test_a_later_upload_rejects_the_number_as_opted_out_and_does_not_write_it_down(api: Api) -> None:
    ask(api)
    erase(api)
    campaign = made(api)

    cohort_id = uploaded(api, campaign, f"phone,name\n{PHONE},Jamie Doe\n{OTHER},Casey\n")

    assert result(api, campaign, cohort_id)["rejected_by_reason"] == {"opted_out": 1}
    assert holding(api, *FORMS) == {"cohort_files.data"}


def test_the_suppression_holds_in_one_organization(api: Api) -> None:
    other = api.rows(lambda db: builders.organization(db, "Other"))
    api("POST", "/api/contacts/erase", org=other, json={"phoneNumber": PHONE})
    erase(api)
    campaign = made(api)

    cohort_id = uploaded(api, campaign, f"phone\n{PHONE}\n")

    assert result(api, campaign, cohort_id)["valid_records"] == 1


def test_an_erased_number_is_found_among_the_opt_outs_and_never_stored_again(api: Api) -> None:
    ask(api)
    erase(api)

    single = api("POST", "/api/opt-outs", json={"phone_number": PHONE})
    bulk = api("POST", "/api/opt-outs/bulk", json={"phone_numbers": [PHONE, OTHER]})

    sought = api("POST", "/api/opt-outs/search", json={"phone_numbers": [PHONE]}).json()
    assert (single.status_code, bulk.json()["added"], bulk.json()["already"]) == (201, 1, 1)
    assert (sought["items"], sought["suppressed"]) == ([], [PHONE])
    assert holding(api, *FORMS) == set()


def test_removing_the_opt_out_of_an_erased_number_lets_it_be_uploaded_again(api: Api) -> None:
    ask(api)
    erase(api)
    campaign = made(api)

    removed = api("POST", "/api/opt-outs/remove", json={"phone_number": PHONE}).json()["removed"]

    assert removed
    assert result(api, campaign, uploaded(api, campaign, f"phone\n{PHONE}\n"))["valid_records"] == 1


def test_from_the_request_on_nothing_is_dialled(api: Api) -> None:
    there = with_contact(api, made(api))

    ask(api)

    assert len(api.rows(lambda db: claimed(db, there))) == 1
    assert states(api, there) == ["opted_out", "dialing"]


def test_an_erasure_waits_for_a_call_that_is_going_on(api: Api) -> None:
    there = with_contact(api, made(api))
    attempt_id = api.rows(lambda db: claimed(db, there))[0]
    asked = ask(api)

    erase(api)
    waiting = stands(api, asked["erasureId"])
    api.rows(lambda db: amend(db, "attempts", attempt_id, outcome="no_answer"))
    api.rows(lambda db: amend(db, "contacts", there.contact_ids[0], state="done"))
    erase(api)

    assert (waiting["status"], waiting["waitingFor"]) == ("pending", "attempt_open")
    assert stands(api, asked["erasureId"])["status"] == "erased"


def test_an_erasure_waits_for_a_cohort_that_is_being_read(api: Api) -> None:
    campaign = made(api)
    cohort_id = uploaded(api, campaign)
    api.rows(lambda db: amend(db, "cohorts", cohort_id, status="processing"))
    asked = ask(api)

    erase(api)
    waiting = stands(api, asked["erasureId"])
    api.rows(lambda db: amend(db, "cohorts", cohort_id, status="completed"))
    erase(api)

    assert (waiting["status"], waiting["waitingFor"]) == ("pending", "cohort_processing")
    assert stands(api, asked["erasureId"])["status"] == "erased"


def test_an_erasure_waits_for_a_transaction_that_may_not_have_seen_the_opt_out(api: Api) -> None:
    async def meanwhile() -> None:
        async with api.runtime.database.begin() as older:
            await older.execute(text("SELECT pg_current_xact_id()"))
            answer = await asked()
            await erase_all(api.runtime.database, asyncio.Event())
            found.append(answer.json()["erasureId"])

    def asked() -> Any:
        request = api.client.build_request(
            "POST", "/api/contacts/erase", json={"phoneNumber": PHONE}, headers=bearer(api)
        )
        return api.client.send(request)

    found: list[int] = []
    api.runner.run(meanwhile())
    waiting = stands(api, found[0])
    erase(api)

    assert (waiting["status"], waiting["waitingFor"]) == ("pending", "older_work")
    assert stands(api, found[0])["status"] == "erased"


@pytest.mark.parametrize("state", ["done", "exhausted", "expired"])
def test_in_a_campaign_that_goes_on_an_erased_contact_never_comes_back(api: Api, state: str) -> None:
    there = with_contact(api, made(api), [PHONE])
    api.rows(lambda db: amend(db, "contacts", there.contact_ids[0], state=state, due_at=None))

    ask(api)
    erase(api)

    assert states(api, there) == ["opted_out"]


def test_in_a_campaign_that_is_over_an_erased_contact_keeps_its_state(api: Api) -> None:
    there = with_contact(api, made(api, status="ended"), [PHONE])
    api.rows(lambda db: amend(db, "contacts", there.contact_ids[0], state="exhausted", due_at=None))

    ask(api)
    erase(api)

    assert states(api, there) == ["exhausted"]


def test_a_person_of_the_directory_is_erased_by_id_and_asking_again_answers_the_same(api: Api) -> None:
    person_id = api("POST", "/api/contacts", json={"phoneNumber": PHONE}).json()["id"]

    asked = [api("POST", f"/api/contacts/{person_id}/erase").json() for _ in range(2)]
    erase(api)
    again = api("POST", f"/api/contacts/{person_id}/erase")

    assert asked[0] == asked[1]
    assert (again.status_code, again.json()["status"], again.json()["contactId"]) == (202, "erased", person_id)
    assert api("GET", f"/api/contacts/{person_id}").status_code == 404


def test_an_erasure_that_is_killed_anywhere_is_finished_by_the_next_worker(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = made(api)
    for _ in range(3):
        uploaded(api, campaign)
    call(api, with_contact(api, made(api)))
    asked = ask(api)

    for step in ("forget_contacts", "passed", "finish"):
        with monkeypatch.context() as killed:
            killed.setattr(erasures, step, interrupted(getattr(erasures, step)))
            with pytest.raises(KeyboardInterrupt):
                erase(api)
    erase(api)

    assert stands(api, asked["erasureId"])["status"] == "erased"
    assert holding(api, *FORMS) == set()
    assert (api.rows(miscounts), api.rows(contradictions)) == ([], [])


def test_several_people_are_erased_together(api: Api) -> None:
    campaign = made(api)
    cohort_id = uploaded(api, campaign)

    asked = [ask(api), ask(api, OTHER)]
    erase(api)

    file = api("GET", f"/api/campaigns/{campaign.campaign_id}/cohorts/{cohort_id}/files?file_type=cohort").text
    assert [stands(api, one["erasureId"])["status"] for one in asked] == ["erased", "erased"]
    assert ("Jamie" in file, "Casey" in file) == (False, False)


@pytest.mark.parametrize("file", UNREADABLE, ids=["NUL", "UTF-16", "big-endian UTF-16", "zip", "gzip"])
def test_a_file_that_nobody_can_read_is_dropped(api: Api, file: bytes) -> None:
    campaign = made(api)
    cohort_id = uploaded(api, campaign, file)

    ask(api)
    erase(api)

    path = f"/api/campaigns/{campaign.campaign_id}/cohorts/{cohort_id}/files?file_type=cohort"
    assert api("GET", path).status_code == 404
    assert holding(api, *FORMS, "Jamie Doe") == set()


def test_what_webhooks_tell_names_erased_people_no_more(api: Api) -> None:
    async def listen(db: AsyncConnection) -> None:
        statement = """INSERT INTO webhooks (campaign_id, organization_id, url, events, secret)
                       VALUES (:campaign_id, :organization_id, 'https://example.com', :events, '')"""
        mine = {"campaign_id": there.campaign_id, "organization_id": there.organization_id}
        await db.execute(text(statement), mine | {"events": ["attempt.finished", "contact.finished"]})
        await db.execute(
            text("UPDATE contacts SET user_identifier = 'Jamie Doe' WHERE phone = :phone"), {"phone": PHONE}
        )

    there = with_contact(api, made(api))
    api.rows(listen)
    call(api, there)
    before = holding(api, *FORMS, "Jamie Doe")

    ask(api)
    erase(api)

    assert "webhook_deliveries.payload" in before
    assert holding(api, *FORMS, "Jamie Doe") == set()
    assert OTHER in api.rows(everything)["webhook_deliveries.payload"]


def test_what_is_no_number_cannot_be_erased(api: Api) -> None:
    answer = api("POST", "/api/contacts/erase", json={"phoneNumber": "4155"})

    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "phoneNumber")


def test_another_organizations_people_and_erasures_do_not_exist(api: Api) -> None:
    other = api.rows(lambda db: builders.organization(db, "Other"))
    person_id = api("POST", "/api/contacts", org=other, json={"phoneNumber": PHONE}).json()["id"]
    erasure_id = api("POST", f"/api/contacts/{person_id}/erase", org=other).json()["erasureId"]

    assert api("POST", f"/api/contacts/{person_id}/erase").status_code == 404
    assert api("GET", f"/api/contacts/erasures/{erasure_id}").status_code == 404


def states(api: Api, there: Scene) -> list[str]:
    async def read_states(db: AsyncConnection) -> list[str]:
        statement = "SELECT state FROM contacts WHERE campaign_id = :id ORDER BY id"
        return list((await db.execute(text(statement), {"id": there.campaign_id})).scalars())

    return api.rows(read_states)


def interrupted(step: Any) -> Any:
    async def done_and_killed(*arguments: Any) -> None:
        await step(*arguments)
        raise KeyboardInterrupt

    return done_and_killed


def bearer(api: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(api.organization_id)}"}
