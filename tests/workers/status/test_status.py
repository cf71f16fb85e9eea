"""`outdial status`: what an operator reads of campaigns, connections, queues and the scheduler."""

import asyncio
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from asyncpg import ConnectionDoesNotExistError
from pydantic import SecretStr
from redis import Redis
from rich.console import Console
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.congestion import Hold
from domain.connection import HEALTHY, Health
from domain.errors import ConfigurationError
from domain.open_hours import DAYS
from infra.db import lease
from infra.db import status as standing
from infra.db.engine import create_engine
from infra.embedded.home import held
from infra.embedded.stores import UP_LOCK
from infra.settings import Settings, load_settings
from tests import builders
from tests.builders import insert_contacts, phone, scene
from tests.conftest import Run
from tests.rows import amend, claimed
from workers.status.overview import ConnectionLine, Overview, overview
from workers.status.show import status, why_away
from workers.status.tables import HELD_BACK, tables


def test_a_campaign_at_work_is_shown_with_its_pace_and_its_contacts(run: Run, settings: Settings) -> None:
    async def prepare(db: AsyncConnection) -> None:
        made = await scene(db, contacts=20)
        await lease.take(db, "here:1", 5)
        await insert_contacts(db, made.cohort_id, [phone(100)], due_at=datetime(2100, 1, 1, tzinfo=UTC))
        dialed = await claimed(db, replace(made, contact_ids=made.contact_ids[:15]))
        for attempt_id in dialed:
            await amend(db, "attempts", attempt_id, started_at=datetime.now(UTC))
        await amend(db, "contacts", made.contact_ids[0], state="done")

    run(prepare)

    assert line(shown(settings), "Reminders") == [
        "1",
        "Reminders",
        "10",
        "1.5",
        "0.2",
        "5",
        "1",
        "14",
        "4.8%",
        "active",
    ]


def test_a_campaign_says_what_it_waits_for(run: Run, settings: Settings) -> None:
    async def prepare(db: AsyncConnection) -> None:
        made = await scene(db, status="paused")
        await lease.take(db, "here:1", 5)
        campaign = partial(builders.campaign, db, made.organization_id, [made.connection_id])
        await campaign(body={"name": "closed", "allowed_schedule": closed_now()})
        await campaign(body={"name": "empty"})
        await campaign(body={"name": "waiting"}, status="scheduled", start_at=datetime(2100, 1, 1, tzinfo=UTC))

    run(prepare)
    seen = shown(settings)

    assert line(seen, "Reminders")[-2:] == ["0.0%", "paused"]
    assert line(seen, "closed")[-6:-2] == ["active:", "window", "closed", "until"]
    assert line(seen, "empty")[-4:] == ["active:", "no", "contacts", "yet"]
    assert line(seen, "waiting")[-6:] == ["scheduled:", "not", "begun", "until", "2100-01-01", "00:00"]


def test_campaigns_wait_while_no_scheduler_holds_the_lease(run: Run, settings: Settings) -> None:
    run(scene)

    seen = shown(settings)

    assert "no scheduler holds the lease: there never was one" in seen
    assert line(seen, "Reminders")[-3:] == ["active:", "no", "scheduler"]


def test_the_scheduler_that_works_is_named_with_its_term(run: Run, settings: Settings) -> None:
    run(lambda db: lease.take(db, "here:1", 5))

    assert "scheduler here:1, term 1, lease for another" in shown(settings)


def test_the_last_attempt_is_told_by_its_age(run: Run, settings: Settings) -> None:
    async def prepare(db: AsyncConnection) -> None:
        made = await scene(db)
        (first, *_) = await claimed(db, made)
        await amend(db, "attempts", first, started_at=datetime.now(UTC) - timedelta(hours=2), slot_at=datetime.now(UTC))

    assert "no attempt yet" in shown(settings)
    run(prepare)
    assert "last attempt 2:00:0" in shown(settings)


def test_the_last_attempt_is_told_when_its_campaign_has_ended(run: Run, settings: Settings) -> None:
    async def prepare(db: AsyncConnection) -> None:
        made = await scene(db)
        (first, *_) = await claimed(db, made)
        await amend(db, "attempts", first, started_at=datetime.now(UTC) - timedelta(hours=2))
        await amend(db, "campaigns", made.campaign_id, status="ended")

    run(prepare)

    assert "last attempt 2:00:0" in shown(settings)


def test_a_connection_is_shown_with_what_holds_its_places(run: Run, settings: Settings) -> None:
    async def prepare(db: AsyncConnection) -> None:
        made = await scene(db)
        await claimed(db, made)
        await amend(db, "connections", made.connection_id, max_concurrent_attempts=40)

    run(prepare)

    assert line(shown(settings), "Trunk") == ["1", "Trunk", "well", "3", "40"]


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (HEALTHY, "well"),
        (Health(cooling_until=datetime(2026, 5, 20, 12, 5, tzinfo=UTC), strikes=1, reason="throttled"),
         "cooling until 12:05:00 (throttled)"),
        (Health(cooling_until=datetime(2026, 5, 20, 11, 0, tzinfo=UTC), strikes=2, reason="unreachable"),
         "probing (unreachable)"),
        (Health(suspended_at=datetime(2026, 5, 19, 11, 0, tzinfo=UTC), reason="refused_credentials"),
         "suspended since 2026-05-19 11:00 (refused_credentials)"),
    ],
)  # fmt: skip
def test_the_health_of_a_connection_is_told_in_words(run: Run, settings: Settings, health: Health, words: str) -> None:
    run(scene)
    seen = looked(settings)
    ailing = ConnectionLine(replace(seen.connections[0].connection, health=health), 0)

    told = rendered(replace(seen, now=datetime(2026, 5, 20, 12, tzinfo=UTC), connections=[ailing]))

    assert words in told


def test_queues_are_shown_with_what_waits_in_them(settings: Settings, redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.rpush("outdial:dial", "one", "two")
        client.hset("outdial:dial.msgs", mapping={"one": "1", "two": "2", "three": "3"})

    assert line(shown(settings), "dial") == ["dial", "2", "1", "0"]


def test_without_redis_the_rest_is_shown(run: Run, settings: Settings) -> None:
    run(scene)

    seen = shown(settings.model_copy(update={"redis_url": SecretStr("unix:///nowhere/redis.sock")}))

    assert "Redis does not answer" in seen
    assert line(seen, "Reminders")[:2] == ["1", "Reminders"]


def test_a_count_that_was_cut_says_so(run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "MOST_LATER", 2)
    monkeypatch.setattr("workers.status.tables.MOST_LATER", 2)

    async def prepare(db: AsyncConnection) -> None:
        made = await scene(db, contacts=0)
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        await insert_contacts(db, made.cohort_id, [phone(index) for index in range(5)], due_at=tomorrow)

    run(prepare)

    assert line(shown(settings), "Reminders")[5:7] == ["≤3", "≥2"]


def test_a_name_cannot_command_the_terminal(run: Run, settings: Settings) -> None:
    name = "[red]\x1b[2J\x07" + "x" * 60

    async def prepare(db: AsyncConnection) -> None:
        made = await scene(db)
        await builders.campaign(db, made.organization_id, [made.connection_id], body={"name": name})

    run(prepare)

    assert "[red]·[2J·" + "x" * 19 + "…" in shown(settings)


def test_without_a_terminal_it_prints_once_and_plainly(
    run: Run, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    run(scene)

    code = status(settings, watch=True)

    printed = capsys.readouterr().out
    assert code == 0
    assert printed.count("Campaigns") == 1
    assert "\x1b" not in printed


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://outdial:secret@/outdial?host=/nowhere", "/nowhere:5432/outdial"),
        ("postgresql://outdial:secret@127.0.0.1:1/outdial", "127.0.0.1:1/outdial"),
    ],
)
def test_a_database_that_does_not_answer_is_told_with_where_it_was_looked_for(
    url: str, place: str, settings: Settings
) -> None:
    away = settings.model_copy(update={"database_url": SecretStr(url)})

    with pytest.raises(ConfigurationError) as told:
        status(away, watch=False)

    assert re.search(
        rf"PostgreSQL at {place} does not answer \(\w*Error: .*(Connect call failed|No such file)", str(told.value)
    )
    assert "secret" not in str(told.value)


def test_what_the_driver_says_is_told_and_not_the_layer_above_it() -> None:
    error = DBAPIError.instance("SELECT 1", {}, ConnectionDoesNotExistError("connection was closed"), Exception)

    told = why_away(load_settings(database_url="postgresql://h/d"), "h:5432/d", error)

    assert told == "PostgreSQL at h:5432/d does not answer (ConnectionDoesNotExistError: connection was closed)"


def test_a_home_where_nothing_runs_is_told_and_left_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no `outdial up` runs on"):
        status(load_settings(home=tmp_path / "home"), watch=False)

    assert not (tmp_path / "home").exists()


def test_while_watching_an_up_that_was_killed_is_told(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    (tmp_path / UP_LOCK).touch()

    with held(tmp_path / UP_LOCK):
        while_up = why_away(settings, "here", FileNotFoundError())
    killed = why_away(settings, "here", FileNotFoundError())

    assert while_up == "PostgreSQL at here does not answer (FileNotFoundError)"
    assert killed == f"no `outdial up` runs on {tmp_path}"


@pytest.mark.parametrize("why", Hold)
def test_what_the_scheduler_holds_back_is_told_with_its_reason(why: Hold, run: Run, settings: Settings) -> None:
    async def prepare(db: AsyncConnection) -> None:
        held = await lease.take(db, "here:1", 5)
        assert held is not None
        await lease.renew(db, "here:1", held.term, 5, held_back=why, stretch=3.2)

    run(prepare)
    seen = shown(settings)

    assert f"granting held back: {HELD_BACK[why]}" in seen
    assert "granting slowed to 1/3.2: dialers or PostgreSQL do not keep up" in seen


def test_a_scheduler_that_is_gone_holds_nothing_back(run: Run, settings: Settings) -> None:
    async def prepare(db: AsyncConnection) -> None:
        held = await lease.take(db, "here:1", 5)
        assert held is not None
        await lease.renew(db, "here:1", held.term, 5, held_back=Hold.UNUSED, stretch=3.2)
        await lease.resign(db, "here:1", held.term, datetime.now(UTC))

    run(prepare)

    assert "granting" not in shown(settings)


def test_on_a_narrow_terminal_what_campaigns_wait_for_stands_below_them(run: Run, settings: Settings) -> None:
    async def prepare(db: AsyncConnection) -> None:
        made = await scene(db, status="paused")
        later = datetime(2100, 1, 1, tzinfo=UTC)
        body = {"name": "A campaign with a long name"}
        await builders.campaign(
            db, made.organization_id, [made.connection_id], body=body, status="scheduled", start_at=later
        )

    run(prepare)
    seen = rendered(looked(settings), width=80)

    assert "2 not begun until 2100-01-01 00:00" in seen.splitlines()
    assert line(seen, "2")[-1] == "scheduled"
    assert max(map(len, seen.splitlines())) <= 80


def closed_now() -> dict[str, object]:
    """A schedule that opens in three days."""
    day = DAYS[(datetime.now(UTC).weekday() + 3) % 7]
    return {"timezone": "UTC", "allowed_days": [day], "allowed_start_time": "09:00", "allowed_end_time": "10:00"}


def shown(settings: Settings) -> str:
    return rendered(looked(settings))


def looked(settings: Settings) -> Overview:
    assert settings.database_url is not None
    assert settings.redis_url is not None
    database, client = create_engine(settings.database_url.get_secret_value()), settings.redis_url.get_secret_value()

    async def look() -> Overview:
        with Redis.from_url(client) as redis:
            seen = await overview(database, redis)
        await database.dispose()
        return seen

    return asyncio.run(look())


def rendered(seen: Overview, width: int = 200) -> str:
    plain = io.StringIO()
    Console(file=plain, width=width).print(tables(seen))
    return plain.getvalue()


def line(text: str, name: str) -> list[str]:
    """The words of the line that shows this campaign, connection or queue."""
    return next(words for words in map(str.split, text.splitlines()) if name in words[:2])
