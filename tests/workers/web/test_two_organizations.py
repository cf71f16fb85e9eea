"""Two organizations that have the same of everything: the same names, numbers, keys and identifiers."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests import builders
from tests.builders import CONNECTION_SECRET, JWT_SECRET, WEBHOOK_SECRET, Scene, phone
from tests.rows import claims, entry
from tests.workers.web.asking import Api, token
from tests.workers.web.routes import NUMBER, ROUTES, Owned, ask, authorized, owned
from workers.web.auth import Scope
from workers.web.once import HEADER

# What belongs to nobody, and what is the answer of the one to another request.
NOBODYS = {"alembic_version", "scheduler_lease", "archive_reach"}
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


async def every_row(db: AsyncConnection) -> set[tuple[str, str]]:
    """The rows of all tables, each as a text."""
    tables = set((await db.execute(text(TABLES))).scalars()) - NOBODYS
    found = [(table, await db.execute(text(f"SELECT CAST(t AS text) FROM {table} t"))) for table in sorted(tables)]
    return {(table, row) for table, rows in found for row in rows.scalars()}


@pytest.mark.parametrize("asked", ["mine", "theirs"])
def test_t1_whatever_one_organization_asks_for_not_a_row_of_another_changes(api: Api, asked: str) -> None:
    theirs = owned(api, api.rows(lambda db: builders.organization(db, "Other")))
    before = api.rows(every_row)
    mine = owned(api, api.organization_id)
    admin = authorized(mine.organization_id, Scope.ADMIN)

    ids = {"mine": mine.ids, "theirs": theirs.ids}[asked]
    answers = {name: ask(api, name, ids, headers=admin).status_code for name in ROUTES}

    changed = before - api.rows(every_row)
    assert {row for row in changed if row[0] != "organizations" or "Acme" not in row[1]} == set()
    assert max(answers.values()) < 500


def test_t1_an_organization_that_a_body_query_or_header_names_is_not_looked_at(api: Api, theirs: Owned) -> None:
    other = theirs.organization_id
    named = {"X-Organization-Id": str(other), "X-Tenant": str(other), "X-Org": str(other)}

    listed = api("GET", f"/api/campaigns?org={other}&organization_id={other}", headers=named).json()
    created = api("POST", "/api/campaigns", json=builders.campaign_body([1]) | {"organization_id": other})

    assert listed["items"] == []
    assert created.status_code == 400
    assert "organization_id" in [one["field"] for one in created.json()["details"]]


@pytest.mark.parametrize("field", ["organization_id", "status", "epoch", "run", "created_by", "campaign_id", "counts"])
def test_t3_what_only_the_engine_writes_nobody_sends(api: Api, mine: Owned, field: str) -> None:
    created = api("POST", "/api/campaigns", json=builders.campaign_body([mine.ids["connection_id"]]) | {field: 1})
    edited = api("PATCH", f"/api/campaigns/{mine.ids['campaign_id']}", json={field: 1})

    assert [one.status_code for one in (created, edited)] == [400, 400]
    assert [[one["field"] for one in told.json()["details"]] for told in (created, edited)] == [[field]] * 2


def test_t6_the_same_names_keys_and_numbers_are_two_things(api: Api, mine: Owned, theirs: Owned) -> None:
    def create(own: Owned) -> tuple[Any, Any]:
        body = builders.campaign_body([own.ids["connection_id"]])
        users = {"name": "List", "users": [{"phone_number": NUMBER, "user_identifier": "42"}]}
        made = api("POST", "/api/campaigns", json=body, headers={HEADER: "one"}, org=own.organization_id)
        place = f"/api/campaigns/{made.json()['campaign_id']}/cohorts"
        return made, api("POST", place, json=users, headers={HEADER: "two"}, org=own.organization_id)

    ours, others = create(mine), create(theirs)

    assert [one.status_code for one in (*ours, *others)] == [201] * 4
    assert not any("Idempotency-Replayed" in one.headers for one in (*ours, *others))
    assert ours[0].json()["name"] == others[0].json()["name"]
    assert ours[0].json()["campaign_id"] != others[0].json()["campaign_id"]


def test_t6_two_organizations_may_call_the_same_number_at_once(api: Api, mine: Owned, theirs: Owned) -> None:
    """One open attempt for each organization and number, not for each number."""
    scenes = [api.rows(partial(active, own)) for own in (mine, theirs)]
    entries = [entry(one, one.contact_ids[0]) for one in scenes]

    claimed, refused = api.rows(lambda db: claims(db, entries))

    assert sorted(one.entry.contact_id for one in claimed) == sorted(one.contact_ids[0] for one in scenes)
    assert ({one.phone for one in claimed}, refused) == ({phone(7)}, [])


async def active(own: Owned, db: AsyncConnection) -> Scene:
    """An active campaign that calls the same number as everybody's."""
    connection_id = own.ids["connection_id"]
    campaign_id = await builders.campaign(db, own.organization_id, [connection_id])
    cohort_id = await builders.cohort(db, campaign_id)
    contact_ids = await builders.insert_contacts(db, cohort_id, [phone(7)])
    return Scene(own.organization_id, connection_id, campaign_id, cohort_id, contact_ids)


def test_t6_an_opt_out_holds_in_one_organization(api: Api, mine: Owned, theirs: Owned) -> None:
    opted = api("POST", "/api/opt-outs", json={"phone_number": phone(0)}, org=theirs.organization_id)

    found = api("POST", "/api/opt-outs/search", json={"phone_numbers": [phone(0)]})
    states = api.rows(lambda db: states_of(db, [mine.ids["contact_id"], theirs.ids["contact_id"]]))

    assert (opted.status_code, found.json()["items"]) == (201, [])
    assert states[mine.ids["contact_id"]] == "ready"


async def states_of(db: AsyncConnection, contact_ids: list[int]) -> Mapping[int, str]:
    rows = await db.execute(text("SELECT id, state FROM contacts WHERE id = ANY(:ids)"), {"ids": contact_ids})
    return {row.id: row.state for row in rows}


def all_asked(api: Api, own: Owned) -> None:
    admin = authorized(own.organization_id, Scope.ADMIN)
    for name in ROUTES:
        ask(api, name, own.ids, headers=admin)


def test_d2_redis_holds_ids_and_nothing_personal(api: Api, mine: Owned) -> None:
    all_asked(api, mine)

    with redis.Redis.from_url(api.runtime.settings.redis_url.get_secret_value()) as client:  # type: ignore[union-attr]
        held = b"\n".join(part for key in client.scan_iter() for part in (key, dumped(client, key)))

    assert b"ingest_cohort" in held
    assert not re.search(rb"1415555|4155550|\+\d|eyJ|Reminders|Hello|List", held)


def dumped(client: Any, key: bytes) -> bytes:
    """What a key holds, whatever its kind."""
    reading: dict[bytes, Callable[[], Any]] = {
        b"string": lambda: [client.get(key)],
        b"hash": lambda: [part for pair in client.hgetall(key).items() for part in pair],
        b"list": lambda: client.lrange(key, 0, -1),
        b"set": lambda: list(client.smembers(key)),
        b"zset": lambda: client.zrange(key, 0, -1),
    }
    return b"\n".join(reading[client.type(key)]())


def test_d4_no_secret_stands_in_the_database(api: Api, mine: Owned) -> None:
    webhook = {"url": "http://127.0.0.1:9/hook", "secret": WEBHOOK_SECRET}
    body = builders.campaign_body([mine.ids["connection_id"]]) | {"webhook": webhook}
    api("POST", "/api/campaigns", json=body, headers={HEADER: "with a secret"})
    all_asked(api, mine)

    rows = api.rows(every_row)

    bearer = token(api.organization_id).split(".")[0]
    plain = {CONNECTION_SECRET, WEBHOOK_SECRET, JWT_SECRET, builders.ENCRYPTION_KEY, bearer}
    forms = plain | {one.encode().hex() for one in plain}
    assert {table for table, row in rows for form in forms if form in row} == set()
    assert {"connections", "webhooks"} <= {table for table, _ in rows}
