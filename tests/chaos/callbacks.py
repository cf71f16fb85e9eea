"""`make chaos-callbacks MANY=100000`: providers that report twice, out of order, late, and somebody who forges.

The applications of two web processes take the callbacks by their real route, hundreds at a time, each with a recorder
of its own. The same calls of a second organization are told once and in order. In the end all rows must be alike.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.types import ASGIApp, Message

from domain.attempt import Source, instant
from infra.crypto import SIGNATURE_HEADER, sign
from infra.db.engine import create_engine
from infra.db.schema import migrate
from infra.embedded.home import prepare
from infra.embedded.stores import started
from infra.settings import Settings, load_settings
from tests import builders
from tests.builders import CONNECTION_SECRET, ENCRYPTION_KEY, JWT_SECRET, Scene, phone
from tests.chaos.courses import Coming, Course, courses, disorder
from tests.rows import claims, contradictions, entry, miscounts, now
from workers.recorder import Recorder
from workers.runtime import Runtime, open_runtime, required
from workers.web.app import create_app

MANY, WEBS = 100_000, 2
IN_FLIGHT, CLAIMED_AT_ONCE = 300, 500
AGO = timedelta(minutes=20)
OTHER_SECRET = "the secret of somebody else's connection"
POLICY = {
    "max_retries": 2,
    "retry_interval_minutes": [10, 30],
    "retry_on": {
        "busy": {"enabled": True},
        "no_answer": {"enabled": True},
        "failed": {"enabled": True},
        "short_duration": {"enabled": True, "threshold_seconds": 10},
    },
}


class Half(NamedTuple):
    """An organization's attempts, one for each course, and its connections of calls, of messages, and of nobody."""

    connections: tuple[int, int, int]
    attempts: list[int]


@dataclass(slots=True)
class Report:
    """`different` are the first rows that are not alike, `untrue` counters and contacts that contradict attempts."""

    answers: Counter[int] = field(default_factory=Counter)
    refusals: Counter[int] = field(default_factory=Counter)
    different: list[Any] = field(default_factory=list)
    untrue: list[Any] = field(default_factory=list)

    @property
    def is_true(self) -> bool:
        """Every genuine callback was taken, every forgery refused, and both halves came to the same."""
        refused = set(self.refusals) <= {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND}
        return set(self.answers) == {HTTPStatus.NO_CONTENT} and refused and not (self.different or self.untrue)


async def storm(settings: Settings, many: int, seed: int) -> Report:
    """Send so many callbacks about one half, tell the other half once and in order, and compare."""
    chance, report = random.Random(seed), Report()  # noqa: S311 - repeatable, not secret
    since = instant(now()) - AGO
    planned = courses(many, chance, since)
    async with AsyncExitStack() as stack:
        webs = [Web.of(await stack.enter_async_context(open_runtime(settings))) for _ in range(WEBS)]
        stormy, calm = [await _half(webs[0].runtime, name, planned, since) for name in ("Stormy", "Calm")]
        coming = iter(disorder(planned, chance))
        await asyncio.gather(*(_work(webs[n % WEBS], stormy, planned, coming, report) for n in range(IN_FLIGHT)))
        reports = [one.report(key) for key, course in zip(calm.attempts, planned, strict=True) for one in course.told]
        await asyncio.gather(*(webs[0].recorder.record(one) for one in reports))
        async with webs[0].runtime.database.connect() as db:
            report.different = list(await db.execute(_DIFFERENT, {"a": stormy.attempts, "b": calm.attempts}))
            report.untrue = [*await miscounts(db), *await contradictions(db)]
    return report


class Web(NamedTuple):
    """A web process, and the recorder it hands reports to."""

    runtime: Runtime
    recorder: Recorder
    app: ASGIApp

    @classmethod
    def of(cls, runtime: Runtime) -> "Web":
        recorder = Recorder(runtime)
        return cls(runtime, recorder, create_app(runtime, recorder.record))


async def _work(web: Web, half: Half, planned: Sequence[Course], coming: Iterator[Coming], report: Report) -> None:
    """Take one after another; the dialer's own word needs no request."""
    for one in coming:
        attempt_id = half.attempts[one.course]
        if one.told.source is Source.DIALER:
            await web.recorder.record(one.told.report(attempt_id))
            continue
        connection_id = half.connections[planned[one.course].is_message]
        counted = report.refusals if one.forgery else report.answers
        counted[await _posted(web, connection_id, half.connections[2], attempt_id, one)] += 1


async def _posted(web: Web, connection_id: int, other_id: int, attempt_id: int, one: Coming) -> int:
    body = _body(attempt_id, one)
    at = web.runtime.clock.now() // 1_000_000
    secret = OTHER_SECRET if one.forgery in {"wrong secret", "another connection's"} else CONNECTION_SECRET
    signature = sign(secret, body, at - 400 if one.forgery == "too old" else at)
    headers = [] if one.forgery == "not signed" else [(SIGNATURE_HEADER.lower().encode(), signature.encode())]
    sent = body.replace(b'"ref":', b'"ref" :') if one.forgery == "changed body" else body
    to = other_id if one.forgery == "another connection's" else connection_id
    return await _post(web.app, f"/api/callbacks/{to}", headers, sent)


def _body(attempt_id: int, one: Coming) -> bytes:
    told = one.told
    return orjson.dumps(
        {
            "attempt_id": attempt_id,
            "status": told.status,
            "duration_seconds": told.duration_seconds,
            "ref": told.ref,
            "occurred_at": told.at,
        }
    )


async def _post(app: ASGIApp, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> int:
    """The status that a request is answered with."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("outdial.test", 80),
    }
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    return statuses[0]


async def _half(runtime: Runtime, name: str, planned: Sequence[Course], since: datetime) -> Half:
    """Its rows: a campaign of calls and one of messages, every contact of which has an open attempt."""
    calls = sum(not one.is_message for one in planned)
    async with runtime.database.begin() as db:
        organization_id = await builders.organization(db, name)
        voice, texts = [await builders.connection(db, organization_id) for _ in range(2)]
        nobodys = await builders.connection(db, organization_id, secret=OTHER_SECRET)
        scenes = (
            await _scene(db, organization_id, voice, range(calls), {}),
            await _scene(db, organization_id, texts, range(calls, len(planned)), {"channel": "sms"}, message="Hello"),
        )
        attempts = [one for scene in scenes for one in await _attempts(db, scene)]
        await db.execute(_SLOTS, {"ids": attempts, "at": since - timedelta(minutes=1)})
    return Half((voice, texts, nobodys), attempts)


async def _scene(
    db: AsyncConnection, organization_id: int, connection_id: int, numbers: range, body: dict[str, Any], **config: Any
) -> Scene:
    config |= {"retry_config": POLICY}
    campaign_id = await builders.campaign(db, organization_id, [connection_id], body=body, **config)
    cohort_id = await builders.cohort(db, campaign_id)
    contact_ids = await builders.insert_contacts(db, cohort_id, [phone(index) for index in numbers])
    return Scene(organization_id, connection_id, campaign_id, cohort_id, contact_ids)


async def _attempts(db: AsyncConnection, scene: Scene) -> list[int]:
    """An open one for each contact, in their order."""
    made: list[int] = []
    for first in range(0, len(scene.contact_ids), CLAIMED_AT_ONCE):
        entries = [entry(scene, one) for one in scene.contact_ids[first : first + CLAIMED_AT_ONCE]]
        claimed, refused = await claims(db, entries)
        assert not refused, refused[0]
        made += [one.attempt_id for one in sorted(claimed, key=lambda one: one.entry.contact_id)]
    return made


# Nobody claims late, so that what all have in common is given to them afterwards.
_SLOTS = text("UPDATE attempts SET slot_at = :at, claimed_at = :at WHERE id = ANY(CAST(:ids AS bigint[]))")
# When the first evidence of an open attempt came, and how often it was looked up, only bears on its next look-up.
_COLUMNS = """a.number, a.run, a.slot_at, a.started_at, a.answered_at, a.ended_at, a.duration_seconds, a.answered_by,
    a.provider_ref, a.provider_status, a.outcome, a.reason, a.next_attempt_at, a.absent_at,
    a.outcome IS NULL AND a.accepted_at IS NULL AS is_unconfirmed,
    k.state, k.attempts, k.run AS contact_run, k.due_at, k.waiting_for"""
_DIFFERENT = text(f"""
    WITH one AS (
        SELECT place, {_COLUMNS} FROM unnest(CAST(:a AS bigint[])) WITH ORDINALITY AS given(id, place)
        JOIN attempts a ON a.id = given.id JOIN contacts k ON k.id = a.contact_id),
    other AS (
        SELECT place, {_COLUMNS} FROM unnest(CAST(:b AS bigint[])) WITH ORDINALITY AS given(id, place)
        JOIN attempts a ON a.id = given.id JOIN contacts k ON k.id = a.contact_id)
    SELECT one.place, jsonb_object_agg(o.key, jsonb_build_array(o.value, c.value)) AS stormy_and_calm
    FROM one JOIN other USING (place) CROSS JOIN jsonb_each(to_jsonb(one)) AS o
    JOIN jsonb_each(to_jsonb(other)) AS c USING (key)
    WHERE one IS DISTINCT FROM other AND o.value IS DISTINCT FROM c.value
    GROUP BY 1 ORDER BY 1 LIMIT 10
""")


def main() -> int:
    words = argparse.ArgumentParser(prog="make chaos-callbacks", description=__doc__)
    words.add_argument("--many", type=int, default=MANY)
    words.add_argument("--seed", type=int, default=1)
    asked = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="outdial-callbacks-") as folder:
        home = prepare(Path(folder) / "home")
        with started(home) as stores:
            settings = load_settings(
                home=home,
                database_url=stores.database_url,
                redis_url=stores.redis_url,
                jwt_secret=JWT_SECRET,
                encryption_key=ENCRYPTION_KEY,
                allow_private_urls=True,
            )
            asyncio.run(_migrated(settings))
            report = asyncio.run(storm(settings, asked.many, asked.seed))
    total = report.answers.total() + report.refusals.total()
    sys.stdout.write(
        f"seed {asked.seed}: {total:,} callbacks, {report.answers.total():,} genuine {dict(report.answers)}, "
        f"{report.refusals.total():,} forged {dict(report.refusals)}\n"
    )
    for row in (*report.different, *report.untrue):
        sys.stdout.write(f"{row._asdict()}\n")
    sys.stdout.write("the rows are those of sorted and distinct callbacks\n" if report.is_true else "VIOLATED\n")
    return int(not report.is_true or total < 0.98 * asked.many)


async def _migrated(settings: Settings) -> None:
    engine = create_engine(required(settings.database_url, "OUTDIAL_DATABASE_URL"))
    await migrate(engine)
    await engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
