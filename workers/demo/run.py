"""The demonstration: everything on a new home, a campaign with bad rows and a moody provider, and the audit at its end.

It uses what everybody uses: `outdial up`, the API and `outdial audit`.
"""

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from domain.campaign import Channel
from domain.pacing import achieved_rate, pace, worst_window
from infra.db.engine import create_engine
from infra.db.organizations import Wanted
from infra.db.pace import starts
from infra.embedded import secrets
from infra.settings import Settings
from workers.audit import audit
from workers.demo.client import Api
from workers.demo.installation import Installation, own_settings, running
from workers.demo.scenes import SCENES, Scene
from workers.demo.show import counted, show, table
from workers.ingest.sample import sample_csv
from workers.installation import with_stores
from workers.runtime import required
from workers.token import Grant, issue

CALLERS = ["+14155550100", "+14155550101"]
LOOK_SECONDS = 1.0

# Minutes, look-ups and time-outs in seconds, so that a demonstration shows all of them.
FAST = {
    "RETRY_MINUTE_SECONDS": "0.6",
    "LOOK_UP_SECONDS": "[2, 3, 4, 6]",
    "ABSENT_SECONDS": "3",
    "REQUEST_TIMEOUT_SECONDS": "2",
    "LOG_LEVEL": "warning",
}
RETRIES = {"max_retries": 2, "retry_interval_minutes": [5, 10]}
# What still comes in after the end: receipts, and replies.
AFTERMATH_SECONDS = 3.0


def demo(*, contacts: int, rate: float, channel: Channel = Channel.VOICE) -> int:
    """Run it to its end; the exit code is the audit's."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    console = Console()
    scene = SCENES[channel]
    console.print(f"Outdial: {contacts:,} contacts at {rate:g} attempts a second, on a new home.")
    with _new_home() as home, running(home, FAST, scene.moods) as installation:
        settings = own_settings(home, FAST)
        token = issue(settings, Wanted("Demo", default_region="US"), Grant("demo"), create=True)
        api = Api(installation.url, token)
        scene.prepare(api, contacts, console)
        campaign_id = _launch(api, installation, scene, contacts, rate)
        if scene.channel is Channel.SMS:
            _show_message(api, campaign_id, console)
        campaign = _watch(api, campaign_id, scene, console)
        with with_stores(settings) as complete:
            _summarize(console, complete, api, campaign, scene=scene, rate=rate)
            console.print("\n[bold]Audit[/bold]")
            return audit(complete, home / "simulator.log", home / "logs")


@contextmanager
def _new_home() -> Iterator[Path]:
    """A home that is removed afterwards, and kept when something went wrong."""
    home = Path(tempfile.mkdtemp(prefix="outdial-demo-"))
    try:
        yield home
    except Exception:
        sys.stderr.write(f"the home is kept for a look: {home} (logs in {home / 'logs'})\n")
        raise
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    shutil.rmtree(home, ignore_errors=True)


def _stop(number: int, _frame: object) -> None:
    """Told to stop, it stops what it started on the way out."""
    raise SystemExit(128 + number)


def _launch(api: Api, installation: Installation, scene: Scene, contacts: int, rate: float) -> int:
    """Connection, campaign, cohort, start: the same calls as in the README."""
    secret = secrets.installed(installation.home).simulator_secret.get_secret_value()
    connection = api.post(
        "/api/connections",
        {
            "name": "Simulated trunk",
            "kind": "http",
            "channel": scene.channel,
            "settings": {"url": installation.simulator, "secret": secret},
            "phone_numbers": CALLERS,
        },
    )
    campaign = api.post(
        "/api/campaigns",
        {
            "name": "Demonstration",
            "channel": scene.channel,
            "app_config": {
                **scene.app,
                "attempts_per_second": rate,
                "connection_configs": [{"connection_id": connection["connection_id"]}],
                "retry_config": RETRIES | {"retry_on": scene.retry_on},
            },
            "end_when_exhausted": True,
        },
    )
    campaign_id = int(campaign["campaign_id"])
    api.upload(f"/api/campaigns/{campaign_id}/cohorts/upload", "sample.csv", sample_csv(contacts))
    api.post(f"/api/campaigns/{campaign_id}/start", {})
    return campaign_id


def _show_message(api: Api, campaign_id: int, console: Console) -> None:
    shown = api.post(f"/api/campaigns/{campaign_id}/preview", {"variables": {"first_name": "Kaya", "amount_due": "20"}})
    segments = f"{shown['length']} in {shown['encoding']}, segments: {shown['segments']}"
    console.print(f"\u201c{shown['message']}\u201d ({segments})", highlight=False)


def _watch(api: Api, campaign_id: int, scene: Scene, console: Console) -> Mapping[str, Any]:
    with show(console) as screen:
        while True:
            campaign: Mapping[str, Any] = api.get(f"/api/campaigns/{campaign_id}")
            screen.update(campaign)
            if campaign["status"] in {"ended", "cancelled"}:
                time.sleep(AFTERMATH_SECONDS)
                ended: Mapping[str, Any] = api.get(f"/api/campaigns/{campaign_id}")
                return ended
            scene.look(api, campaign, console)
            time.sleep(LOOK_SECONDS)


def _summarize(
    console: Console, settings: Settings, api: Api, campaign: Mapping[str, Any], *, scene: Scene, rate: float
) -> None:
    cohort = api.get(f"/api/campaigns/{campaign['campaign_id']}/cohorts")["items"][0]["result"]
    made = asyncio.run(_starts(settings, int(campaign["campaign_id"])))
    window = pace(rate, settings.slot_tolerance)
    worst = worst_window([at for at, _ in made], window.window)
    rows = {
        "rows of the file": f"{cohort['total_records']:,}: {cohort['valid_records']:,} valid, "
        f"{cohort['rejected_records']:,} rejected ({counted(cohort['rejected_by_reason'])})",
        "contacts": counted(campaign["counts"]["contacts"]),
        "attempts": counted(campaign["counts"]["attempts"]),
        "retries": f"{len(made) - len({contact for _, contact in made}):,} of {len(made):,} starts",
        **_own_rows(api, scene, made, rate),
        "worst window": f"{worst} starts in any {window.window / 1e6:g} s, {window.starts} allowed",
    }
    console.print()
    console.print(table("Summary", rows))


def _own_rows(api: Api, scene: Scene, made: list[tuple[int, int]], rate: float) -> dict[str, str]:
    """A campaign of messages stood still for a while, so its mean says nothing."""
    if scene.channel is Channel.SMS:
        return {"opted out by reply": f"{api.post('/api/opt-outs/search', {})['total']:,}"}
    return {"achieved rate": f"{achieved_rate(made):.2f} a second of {rate:g} while contacts were waiting"}


async def _starts(settings: Settings, campaign_id: int) -> list[tuple[int, int]]:
    engine = create_engine(required(settings.database_url, "OUTDIAL_DATABASE_URL"))
    try:
        async with engine.connect() as connection:
            return await starts(connection, campaign_id)
    finally:
        await engine.dispose()
