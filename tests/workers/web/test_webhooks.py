"""`webhook` of a campaign, `…/webhook-deliveries` and `…/webhook/test`: what goes in, what is shown, what never is."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import instant
from domain.webhook import SUBSCRIBED
from infra.crypto import unseal
from infra.db import webhook_deliveries, webhooks
from tests import builders
from tests.builders import ENCRYPTION_KEY, WEBHOOK_SECRET
from tests.workers.web.asking import Api

URL = "https://hooks.example.com/outdial"
OTHER_SECRET = "another secret of sixteen"
EVERYWHERE = """
    SELECT CAST(spec AS text) FROM campaigns UNION ALL SELECT CAST(spec AS text) FROM campaign_revisions
    UNION ALL SELECT CAST(answer AS text) FROM idempotency_keys UNION ALL SELECT encode(secret, 'escape') FROM webhooks
"""


def created(api: Api, webhook: Any = None, **request: Any) -> Any:
    route = api.rows(lambda db: builders.connection(db, api.organization_id))
    body = builders.campaign_body([route]) | {"webhook": webhook}
    return api("POST", "/api/campaigns", json=body, **request)


def a_campaign(api: Api, **webhook: Any) -> str:
    """The path of a draft with a webhook."""
    answer = created(api, {"url": URL, "secret": WEBHOOK_SECRET} | webhook)
    return f"/api/campaigns/{answer.json()['campaign_id']}"


def secret(api: Api) -> str | None:
    """The only one that is stored."""

    async def read(db: AsyncConnection) -> str | None:
        sealed = (await db.execute(text("SELECT secret FROM webhooks"))).scalar_one_or_none()
        return None if sealed is None else unseal(ENCRYPTION_KEY, bytes(sealed)).decode()

    return api.rows(read)


def test_a_campaign_shows_the_url_and_the_events_of_its_webhook(api: Api) -> None:
    path = a_campaign(api, events=["campaign.status"])

    assert api("GET", path).json()["webhook"] == {
        "url": URL,
        "events": ["campaign.status"],
        "is_gone": False,
    }


def test_a_campaign_without_a_webhook_has_none(api: Api) -> None:
    answer = created(api)

    assert api("GET", f"/api/campaigns/{answer.json()['campaign_id']}").json()["webhook"] is None


def test_a_webhook_that_answered_gone_is_shown_as_gone_until_it_is_written_again(api: Api) -> None:
    path = a_campaign(api)
    now = instant(api.runtime.clock.now())
    api.rows(lambda db: webhooks.mark_gone(db, [(int(path.rpartition("/")[2]), URL)], now))

    gone = api("GET", path).json()["webhook"]["is_gone"]
    api("PATCH", path, json={"webhook": {"url": URL, "secret": WEBHOOK_SECRET}})

    assert gone is True
    assert api("GET", path).json()["webhook"]["is_gone"] is False


def test_absent_events_are_all_of_them(api: Api) -> None:
    assert api("GET", a_campaign(api)).json()["webhook"]["events"] == list(SUBSCRIBED)


def test_the_secret_stands_nowhere_but_sealed(api: Api) -> None:
    answer = created(api, {"url": URL, "secret": WEBHOOK_SECRET}, headers={"Idempotency-Key": "k"})
    edit = {"webhook": {"url": URL, "secret": OTHER_SECRET}}
    edited = api("PATCH", f"/api/campaigns/{answer.json()['campaign_id']}", json=edit)

    async def stored(db: AsyncConnection) -> str:
        return " ".join((await db.execute(text(EVERYWHERE))).scalars())

    seen = api.rows(stored) + answer.text + edited.text
    assert WEBHOOK_SECRET not in seen
    assert OTHER_SECRET not in seen
    assert secret(api) == OTHER_SECRET


@pytest.mark.parametrize(
    ("webhook", "field"),
    [
        ({"url": URL}, "webhook.secret"),
        ({"url": URL, "secret": "short"}, "webhook.secret"),
        ({"url": URL, "secret": "whsec_c2hvcnQ="}, "webhook.secret"),
        ({"url": "ftp://example.com/x", "secret": WEBHOOK_SECRET}, "webhook.url"),
        ({"url": URL, "secret": WEBHOOK_SECRET, "events": []}, "webhook.events"),
        ({"url": URL, "secret": WEBHOOK_SECRET, "events": ["call.finished"]}, "webhook.events.0"),
        ({"url": URL, "secret": WEBHOOK_SECRET, "headers": {}}, "webhook.headers"),
    ],
)
def test_a_webhook_that_is_wrong_is_refused_by_its_field(api: Api, webhook: Any, field: str) -> None:
    answer = created(api, webhook)

    assert (answer.status_code, [one["field"] for one in answer.json()["details"]]) == (400, [field])
    assert webhook.get("secret", "no secret") not in answer.text


def test_an_edit_replaces_the_webhook_whole(api: Api) -> None:
    path = a_campaign(api, events=["campaign.status"])

    answer = api("PATCH", path, json={"webhook": {"url": URL + "/2", "secret": OTHER_SECRET}})

    assert answer.status_code == 200
    shown = api("GET", path).json()["webhook"]
    assert (shown["url"], shown["events"]) == (URL + "/2", list(SUBSCRIBED))
    assert secret(api) == OTHER_SECRET


def test_an_edit_without_the_secret_keeps_it_while_the_url_is_the_same(api: Api) -> None:
    path = a_campaign(api)

    kept = api("PATCH", path, json={"webhook": {"url": URL, "events": ["cohort.finished"]}})
    moved = api("PATCH", path, json={"webhook": {"url": URL + "/2"}})

    assert (kept.status_code, secret(api)) == (200, WEBHOOK_SECRET)
    assert (moved.status_code, moved.json()["details"][0]["field"]) == (400, "webhook.secret")


def test_null_removes_the_webhook_and_an_edit_of_something_else_does_not(api: Api) -> None:
    path = a_campaign(api)

    renamed = api("PATCH", path, json={"name": "Other"})
    still = secret(api)
    removed = api("PATCH", path, json={"webhook": None})

    assert (renamed.status_code, still) == (200, WEBHOOK_SECRET)
    assert (removed.status_code, secret(api), api("GET", path).json()["webhook"]) == (200, None, None)


def test_a_new_secret_alone_is_no_revision(api: Api) -> None:
    path = a_campaign(api)
    before = api("GET", path).headers["etag"]

    answer = api("PATCH", path, json={"webhook": {"url": URL, "secret": OTHER_SECRET}})

    assert (answer.headers["etag"], secret(api)) == (before, OTHER_SECRET)


def test_a_copy_has_the_originals_webhook_with_its_secret(api: Api) -> None:
    path = a_campaign(api, events=["campaign.status"])

    copied = api("POST", f"{path}/duplicate", json={})
    test = api("POST", f"/api/campaigns/{copied.json()['campaign_id']}/webhook/test")

    assert test.status_code == 200


def sent(api: Api, path: str, count: int) -> list[int]:
    return [api("POST", f"{path}/webhook/test").json()["delivery_id"] for _ in range(count)]


def test_deliveries_are_listed_newest_first_and_page_by_page(api: Api) -> None:
    path = a_campaign(api)
    ids = sent(api, path, 3)

    first = api("GET", f"{path}/webhook-deliveries", params={"limit": 2}).json()
    second = api("GET", f"{path}/webhook-deliveries", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [one["delivery_id"] for one in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


def test_a_delivery_shows_how_it_stands_and_its_payload_when_asked(api: Api) -> None:
    path = a_campaign(api)
    (delivery_id,) = sent(api, path, 1)

    (without,) = api("GET", f"{path}/webhook-deliveries").json()["items"]
    (item,) = api("GET", f"{path}/webhook-deliveries", params={"payload": True}).json()["items"]

    campaign_id = int(path.rsplit("/", 1)[1])
    assert item.pop("payload") | {"timestamp": ""} == {
        "type": "webhook.test",
        "timestamp": "",
        "data": {"campaign_id": campaign_id},
    }
    assert without.pop("payload") is None
    assert without == item
    assert item | {"created_at": "", "next_attempt_at": ""} == {
        "delivery_id": delivery_id,
        "event": "webhook.test",
        "status": "pending",
        "created_at": "",
        "attempts": 0,
        "status_code": None,
        "reason": None,
        "next_attempt_at": "",
        "delivered_at": None,
    }


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"status": "failed"}, [3]),
        ({"status": "pending"}, [4, 2, 1]),
        ({"status": "delivered"}, []),
        ({"event": "webhook.test"}, [3, 2, 1]),
        ({"event": ["campaign.status", "webhook.test"]}, [4, 3, 2, 1]),
        ({"event": "campaign.status", "status": "failed"}, []),
    ],
)
def test_deliveries_are_filtered_by_status_and_event(api: Api, asked: Any, found: list[int]) -> None:
    path = a_campaign(api)
    sent(api, path, 3)
    failed = "UPDATE webhook_deliveries SET status = 'failed', due_at = NULL WHERE id = 3"
    api.rows(lambda db: db.execute(text(failed)))
    api("PUT", f"{path}/status", json={"action": "cancel"})

    items = api("GET", f"{path}/webhook-deliveries", params=asked).json()["items"]

    assert [one["delivery_id"] for one in items] == found


@pytest.mark.parametrize("asked", [{"cursor": "x"}, {"status": "lost"}, {"event": "x"}, {"limit": 101}])
def test_what_cannot_be_listed_is_refused(api: Api, asked: Any) -> None:
    assert api("GET", f"{a_campaign(api)}/webhook-deliveries", params=asked).status_code == 400


def test_deliveries_are_sent_again_for_another_24_hours(api: Api) -> None:
    path = a_campaign(api)
    ids = sent(api, path, 2)
    long_ago = """UPDATE webhook_deliveries SET status = 'failed', due_at = NULL, attempts = 20,
                  expires_at = now() - interval '1 day'"""
    api.rows(lambda db: db.execute(text(long_ago)))

    answer = api("POST", f"{path}/webhook-deliveries/resend", json={"delivery_ids": ids[:1]})

    async def fresh(db: AsyncConnection) -> list[int]:
        statement = (
            "SELECT id FROM webhook_deliveries WHERE due_at <= now() AND expires_at > now() + interval '23 hours'"
        )
        return list((await db.execute(text(statement))).scalars())

    assert (answer.status_code, answer.json()["delivery_ids"]) == (200, ids[:1])
    assert api.rows(fresh) == ids[:1]


def test_when_one_is_unknown_it_is_named_and_none_is_sent_again(api: Api) -> None:
    path = a_campaign(api)
    ids = sent(api, path, 1)
    failed = "UPDATE webhook_deliveries SET status = 'failed', due_at = NULL"
    api.rows(lambda db: db.execute(text(failed)))

    answer = api("POST", f"{path}/webhook-deliveries/resend", json={"delivery_ids": [*ids, 98, 99]})

    assert (answer.status_code, "98, 99" in answer.json()["message"]) == (404, True)
    assert api("GET", f"{path}/webhook-deliveries").json()["items"][0]["status"] == "failed"


@pytest.mark.parametrize(("count", "status"), [(0, 400), (200, 404), (201, 400)])
def test_at_most_200_are_sent_again_at_once(api: Api, count: int, status: int) -> None:
    body = {"delivery_ids": list(range(1, count + 1))}

    assert api("POST", f"{a_campaign(api)}/webhook-deliveries/resend", json=body).status_code == status


@pytest.mark.parametrize("action", ["webhook/test", "webhook-deliveries/resend"])
def test_nothing_is_sent_where_nobody_listens(api: Api, action: str) -> None:
    path = a_campaign(api)
    body = {"delivery_ids": sent(api, path, 1)}
    campaign_id = int(path.rsplit("/", 1)[1])
    now = api.runtime.clock

    async def gone(db: AsyncConnection) -> None:
        await webhooks.mark_gone(db, [(campaign_id, URL)], instant(now.now()))

    api.rows(gone)
    closed = api("POST", f"{path}/{action}", json=body)
    api("PATCH", path, json={"webhook": None})
    without = api("POST", f"{path}/{action}", json=body)

    assert (closed.status_code, "410" in closed.json()["message"]) == (409, True)
    assert (without.status_code, "no webhook" in without.json()["message"]) == (409, True)


def test_the_backlog_is_counted(api: Api) -> None:
    sent(api, a_campaign(api), 2)

    assert api.rows(webhook_deliveries.pending) == 2
