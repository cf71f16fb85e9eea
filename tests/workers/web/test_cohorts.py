"""Cohorts: taken safely, refused with every reason, listed and given back."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db.cohorts import cohorts
from infra.db.listing import Page
from infra.queue.messages import COHORTS
from tests import builders
from tests.workers.web.asking import Api
from workers.web.app import create_app

CSV = b"phone,name\n+14155550100,Ann\n+14155550101,Bob\n"
MAPPING = {"phone_number": {"column_name": "phone"}, "variables": {"first": {"column_name": "name", "required": True}}}


def campaign(api: Api, status: str = "draft") -> int:
    async def prepare(db: AsyncConnection) -> int:
        route = await builders.connection(db, api.organization_id)
        return await builders.campaign(db, api.organization_id, [route], status=status)

    return api.rows(prepare)


def upload(api: Api, campaign_id: int, content: bytes = CSV, **request: Any) -> Any:
    files = {"cohort_file": ("march list.csv", content)} | request.pop("files", {})
    return api("POST", f"/api/campaigns/{campaign_id}/cohorts/upload", files=files, **request)


def count(api: Api, table: str) -> int:
    async def read(db: AsyncConnection) -> int:
        return int((await db.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())

    return api.rows(read)


def test_an_upload_is_taken_stored_whole_and_hinted_at(api: Api) -> None:
    campaign_id = campaign(api)

    answer = upload(api, campaign_id)

    accepted = answer.json()
    path = f"/api/campaigns/{campaign_id}/cohorts/{accepted['cohort_id']}/files?file_type=cohort"
    assert answer.status_code == 202
    assert (accepted["name"], accepted["status"], accepted["campaign_id"]) == ("march list", "processing", campaign_id)
    assert api("GET", path).content == CSV
    assert api.runtime.broker.client.llen(f"outdial:{COHORTS}") == 1


def test_a_file_of_many_parts_comes_back_as_it_was(api: Api) -> None:
    campaign_id, content = campaign(api), b"phone\n" + b"+14155550100\n" * 250_000

    cohort_id = upload(api, campaign_id, content).json()["cohort_id"]

    path = f"/api/campaigns/{campaign_id}/cohorts/{cohort_id}/files?file_type=cohort"
    assert api("GET", path).content == content


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"mapping": orjson.dumps(MAPPING)}},
        {"files": {"cohort_transformation_file": ("m.json", orjson.dumps(MAPPING))}},
    ],
)
def test_a_mapping_comes_as_a_field_or_as_a_file(api: Api, sent: dict[str, Any]) -> None:
    campaign_id = campaign(api)

    cohort_id = upload(api, campaign_id, **sent).json()["cohort_id"]

    path = f"/api/campaigns/{campaign_id}/cohorts/{cohort_id}/files?file_type=cohort_transformation"
    assert api("GET", path).json() == MAPPING


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"mapping": "{"}, {"mapping"}),
        ({"mapping": "[]"}, {"mapping"}),
        ({"mapping": "{}"}, {"mapping.phone_number"}),
        ({"mapping": '{"a":' + "[" * 700 + "]" * 700 + "}"}, {"mapping"}),
        ({"mapping": '{"phone_number": {"column_name": "a", "column_name": "b"}}'}, {"mapping"}),
        (
            {"mapping": '{"phone_number": {"column": "x"}, "zone": {}}'},
            {"mapping.phone_number.column_name", "mapping.phone_number.column", "mapping.zone"},
        ),
        ({"name": " "}, {"name"}),
        ({"name": "x" * 201}, {"name"}),
        ({"cohort_category": "stops", "name": "", "colour": "red"}, {"cohort_category", "name", "colour"}),
    ],
)
def test_a_broken_upload_names_every_field_and_stores_nothing(api: Api, data: dict[str, str], fields: set[str]) -> None:
    answer = upload(api, campaign(api), data=data)

    assert answer.status_code == 400
    assert {detail["field"] for detail in answer.json()["details"]} == fields
    assert (count(api, "cohorts"), count(api, "cohort_files")) == (0, 0)


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("../../etc/passwd.csv", "passwd"),
        ("C:\\Users\\ann\\march.csv", "march"),
        (".csv", "csv"),
        ("..", "cohort"),
        ("x" * 300 + ".csv", "x" * 200),
        (" ", "cohort"),
    ],
)
def test_u4_a_cohort_is_named_after_its_file_without_folders(api: Api, filename: str, name: str) -> None:
    path = f"/api/campaigns/{campaign(api)}/cohorts/upload"

    assert api("POST", path, files={"cohort_file": (filename, CSV)}).json()["name"] == name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no multipart at all",
        b'--x\r\nContent-Disposition: form-data; name="cohort_file"; filename="a.csv"\r\n\r\nphone\n+1415',
        b'--x\r\nContent-Disposition: form-data; filename="a.csv"\r\n\r\nphone\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 21 + b"--x--\r\n",
    ],
)
def test_a_body_that_is_cut_off_or_broken_is_refused_and_leaves_nothing(api: Api, body: bytes) -> None:
    path, kind = f"/api/campaigns/{campaign(api)}/cohorts/upload", {"Content-Type": "multipart/form-data; boundary=x"}

    answer = api("POST", path, content=body, headers=kind)

    assert answer.status_code == 400
    assert (count(api, "cohorts"), count(api, "cohort_files")) == (0, 0)


def test_a_boundary_that_is_too_long_to_be_one_is_refused(api: Api) -> None:
    path, boundary = f"/api/campaigns/{campaign(api)}/cohorts/upload", "x" * 300

    answer = api("POST", path, content=b"", headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})

    assert answer.status_code == 400
    assert (count(api, "cohorts"), count(api, "cohort_files")) == (0, 0)


@pytest.mark.parametrize("kind", ["application/json", "APPLICATION/JSON; charset=utf-8", "text/csv", ""])
def test_u1_only_a_form_may_be_as_large_as_a_file(api: Api, kind: str) -> None:
    path, body = f"/api/campaigns/{campaign(api)}/cohorts/upload", b"[" + b"[]," * 700_000 + b"[]]"

    answer = api("POST", path, content=body, headers={"Content-Type": kind})

    assert answer.status_code == 413


def test_u1_a_file_beyond_the_bound_is_refused_and_leaves_nothing(api: Api) -> None:
    small = api.runtime.settings.model_copy(update={"max_upload_bytes": 3_000_000})
    transport = httpx.ASGITransport(create_app(replace(api.runtime, settings=small), api.reports.record))
    bounded = replace(api, client=httpx.AsyncClient(transport=transport, base_url="http://outdial.test"))
    campaign_id = campaign(api)

    answers = [upload(bounded, campaign_id, b"x" * length).status_code for length in (3_000_001, 3_000_000)]

    assert answers == [413, 202]
    assert count(api, "cohorts") == 1


def test_a_file_is_stored_while_it_arrives_and_seen_only_when_it_is_whole(api: Api) -> None:
    campaign_id = campaign(api)
    head = b'--x\r\nContent-Disposition: form-data; name="cohort_file"; filename="a.csv"\r\n\r\nphone\n'
    seen: list[tuple[int, int]] = []

    async def body() -> AsyncIterator[bytes]:
        yield head + b"+14155550100\n" * 250_000
        async with api.runtime.database.connect() as connection:
            parts = (await connection.execute(text("SELECT count(*) FROM cohort_files"))).scalar_one()
            found = await cohorts(connection, api.organization_id, campaign_id, Page())
            seen.append((parts, found.total))
        yield b"\r\n--x--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = api("POST", f"/api/campaigns/{campaign_id}/cohorts/upload", content=body(), headers=kind)

    assert answer.status_code == 202
    assert seen == [(3, 0)]
    assert api("GET", f"/api/campaigns/{campaign_id}/cohorts").json()["total"] == 1


def test_an_upload_without_a_file_says_so(api: Api) -> None:
    path = f"/api/campaigns/{campaign(api)}/cohorts/upload"

    answer = api("POST", path, data={"cohort_file": "not a file"}, files={"mapping": ("m.json", b"{}")})

    assert answer.status_code == 400
    assert "cohort_file" in {detail["field"] for detail in answer.json()["details"]}


def test_an_upload_that_is_no_multipart_is_a_415(api: Api) -> None:
    answer = api("POST", f"/api/campaigns/{campaign(api)}/cohorts/upload", json={})

    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("status", "code"),
    [("draft", 202), ("scheduled", 202), ("active", 202), ("paused", 202), ("ended", 409), ("cancelled", 409)],
)
def test_campaigns_take_cohorts_until_they_are_over(api: Api, status: str, code: int) -> None:
    assert upload(api, campaign(api, status)).status_code == code


def test_the_same_upload_with_the_same_key_is_one_cohort(api: Api) -> None:
    campaign_id, key = campaign(api), {"Idempotency-Key": "k"}

    first = upload(api, campaign_id, headers=key)
    again = upload(api, campaign_id, headers=key)
    other = upload(api, campaign_id, CSV + b"+14155550102,Cid\n", headers=key)
    renamed = upload(api, campaign_id, data={"name": "April"}, headers=key)

    assert (again.content, count(api, "cohorts")) == (first.content, 1)
    assert (other.status_code, renamed.status_code) == (409, 409)


def test_an_upload_sent_again_gets_its_first_answer_even_when_the_campaign_takes_no_more(api: Api) -> None:
    campaign_id = campaign(api)
    first = upload(api, campaign_id, headers={"Idempotency-Key": "k"})
    api("PUT", f"/api/campaigns/{campaign_id}/status", json={"action": "cancel"})

    again = upload(api, campaign_id, headers={"Idempotency-Key": "k"})

    assert (again.status_code, again.content) == (202, first.content)
    assert upload(api, campaign_id, headers={"Idempotency-Key": "other"}).status_code == 409


def test_users_come_as_json_too(api: Api) -> None:
    campaign_id = campaign(api)
    users = [{"phone_number": "+14155550100", "variables": {"n": 1}}, {"user_identifier": "u-2"}]

    answer = api("POST", f"/api/campaigns/{campaign_id}/cohorts", json={"name": "API", "users": users})

    path = f"/api/campaigns/{campaign_id}/cohorts/{answer.json()['cohort_id']}"
    lines = api("GET", f"{path}/files?file_type=cohort").content.splitlines()
    assert answer.status_code == 201
    assert api("GET", path).json()["source_type"] == "json"
    assert [orjson.loads(line) for line in lines] == users


def test_a_stop_file_comes_as_a_file_or_as_json_and_is_shown_as_one(api: Api) -> None:
    campaign_id = campaign(api)
    body = {"name": "Stops", "cohort_category": "stop_file", "users": [{"phone_number": "+14155550100"}]}

    sent = upload(api, campaign_id, data={"cohort_category": "stop_file"})
    told = api("POST", f"/api/campaigns/{campaign_id}/cohorts", json=body)

    shown = api("GET", f"/api/campaigns/{campaign_id}/cohorts").json()["items"]
    assert (sent.status_code, told.status_code) == (202, 201)
    assert [one["cohort_category"] for one in shown] == ["stop_file", "stop_file"]
    assert {one["created_by"] for one in shown} == {"ann"}


@pytest.mark.parametrize("users", [[], [{"phone_number": "+1"}] * 1001, [{"phone": "+14155550100"}], "x"])
def test_users_are_one_to_a_thousand_and_have_known_fields(api: Api, users: object) -> None:
    answer = api("POST", f"/api/campaigns/{campaign(api)}/cohorts", json={"name": "API", "users": users})

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"].startswith("users")


def test_a_cohort_shows_what_became_of_its_rows(api: Api) -> None:
    campaign_id = campaign(api)
    cohort_id = upload(api, campaign_id).json()["cohort_id"]

    async def reject_one(db: AsyncConnection) -> None:
        await db.execute(
            text("""
            UPDATE cohorts SET total_records = 2, valid_records = 1, rejected_records = 1,
                rejected_by_reason = '{"invalid_phone_number": 1}',
                layout = '{"delimiter": ",", "header": ["phone", "name"]}'""")
        )
        await db.execute(
            text("""
            INSERT INTO rejected_records SELECT id, 3, 'invalid_phone_number', ARRAY['=1+1', 'Bob'] FROM cohorts""")
        )

    api.rows(reject_one)

    path = f"/api/campaigns/{campaign_id}/cohorts/{cohort_id}"
    rejected = api("GET", f"{path}/files?file_type=rejected_records")
    assert api("GET", path).json()["result"] == {
        "total_records": 2,
        "valid_records": 1,
        "rejected_records": 1,
        "rejected_by_reason": {"invalid_phone_number": 1},
    }
    assert rejected.headers["Content-Type"].startswith("text/csv")
    assert rejected.text.splitlines() == [
        "phone,name,line_number,rejected_reason",
        "'=1+1,Bob,3,invalid_phone_number",
    ]


@pytest.mark.parametrize("file_type", ["rejected_records", "cohort_transformation"])
def test_a_file_that_a_cohort_does_not_have_is_a_404(api: Api, file_type: str) -> None:
    campaign_id = campaign(api)
    cohort_id = upload(api, campaign_id).json()["cohort_id"]

    answer = api("GET", f"/api/campaigns/{campaign_id}/cohorts/{cohort_id}/files?file_type={file_type}")

    assert answer.status_code == 404


def test_cohorts_are_listed_the_newest_first(api: Api) -> None:
    campaign_id = campaign(api)
    ids = [upload(api, campaign_id).json()["cohort_id"] for _ in range(3)]

    page = api("GET", f"/api/campaigns/{campaign_id}/cohorts?limit=2&offset=1").json()

    assert [one["cohort_id"] for one in page["items"]] == [ids[1], ids[0]]
    assert page["total"] == 3


def test_cohorts_are_found_by_name_and_status_in_the_order_that_is_asked_for(api: Api) -> None:
    campaign_id = campaign(api)
    for name in ("May", "April", "Maybe 100%"):
        upload(api, campaign_id, data={"name": name})
    path = f"/api/campaigns/{campaign_id}/cohorts"

    def names(query: str) -> list[str]:
        return [one["name"] for one in api("GET", f"{path}?{query}").json()["items"]]

    assert names("sort_by=name&sort_order=asc") == ["April", "May", "Maybe 100%"]
    assert names("search=may&sort_by=cohort_id&sort_order=asc") == ["May", "Maybe 100%"]
    assert names("search=100%25") == ["Maybe 100%"]
    assert len(names("status=processing&status=failed")) == 3
    assert names("status=completed") == []
    assert names("limit=1&offset=1&sort_by=name&sort_order=asc") == ["May"]


@pytest.mark.parametrize("query", ["sort_by=phone", "sort_order=up", "status=uploading", "limit=101", "offset=-1"])
def test_a_list_that_cannot_be_made_is_a_400(api: Api, query: str) -> None:
    assert api("GET", f"/api/campaigns/{campaign(api)}/cohorts?{query}").status_code == 400


def test_a_lost_hint_loses_no_upload(api: Api) -> None:
    campaign_id = campaign(api)
    api.runtime.broker.client.connection_pool.connection_kwargs["path"] = "/nowhere"
    api.runtime.broker.client.connection_pool.disconnect()

    assert upload(api, campaign_id).status_code == 202
    assert count(api, "cohorts") == 1
