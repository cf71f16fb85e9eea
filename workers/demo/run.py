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

from domain.pacing import achieved_rate, pace, worst_window
from infra.db.engine import create_engine
from infra.db.organizations import Wanted
from infra.db.pace import starts
from infra.embedded import secrets
from infra.settings import Settings
from workers.audit import audit
from workers.demo.client import Api
from workers.demo.installation import Installation, own_settings, running
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
MOODS = (
    "--seed 7 --speed 20 --ring-seconds 4:12 --talk-seconds 12:60 --latency-ms 20:120 --http-5xx 0.01 "
    "--timeout-executed 0.005 --timeout-not-executed 0.005 --callback-lost 0.01 --callback-doubled 0.05 "
    "--callback-reordered 0.05"
)
RETRIES = {
    "max_retries": 2,
    "retry_interval_minutes": [5, 10],
    "retry_on": {
        "busy": {"enabled": True},
        "no_answer": {"enabled": True},
        "short_duration": {"enabled": True, "threshold_seconds": 10},
        "provider_error": {"enabled": True},
        "internal_error": {"enabled": True},
    },
}


def demo(*, contacts: int, rate: float) -> int:
    """Run it to its end; the exit code is the audit's."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    console = Console()
    console.print(f"Outdial: {contacts:,} contacts at {rate:g} attempts a second, on a new home.")
    with _new_home() as home, running(home, FAST, MOODS) as installation:
        settings = own_settings(home, FAST)
        token = issue(settings, Wanted("Demo", default_region="US"), Grant("demo"), create=True)
        api = Api(installation.url, token)
        campaign_id = _launch(api, installation, contacts, rate)
        campaign = _watch(api, campaign_id, console)
        with with_stores(settings) as complete:
            _summarize(console, complete, api, campaign, rate)
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


def _launch(api: Api, installation: Installation, contacts: int, rate: float) -> int:
    """Connection, campaign, cohort, start: the same calls as in the README."""
    secret = secrets.installed(installation.home).simulator_secret.get_secret_value()
    connection = api.post(
        "/api/connections",
        {
            "name": "Simulated trunk",
            "kind": "http",
            "settings": {"url": installation.simulator, "secret": secret},
            "phone_numbers": CALLERS,
        },
    )
    campaign = api.post(
        "/api/campaigns",
        {
            "name": "Demonstration",
            "app_config": {
                "app_id": "agent-demo",
                "app_type": "agent",
                "attempts_per_second": rate,
                "connection_configs": [{"connection_id": connection["connection_id"]}],
                "retry_config": RETRIES,
            },
            "end_when_exhausted": True,
        },
    )
    campaign_id = int(campaign["campaign_id"])
    api.upload(f"/api/campaigns/{campaign_id}/cohorts/upload", "sample.csv", sample_csv(contacts))
    api.post(f"/api/campaigns/{campaign_id}/start", {})
    return campaign_id


def _watch(api: Api, campaign_id: int, console: Console) -> Mapping[str, Any]:
    with show(console) as screen:
        while True:
            campaign: Mapping[str, Any] = api.get(f"/api/campaigns/{campaign_id}")
            screen.update(campaign)
            if campaign["status"] in {"ended", "cancelled"}:
                return campaign
            time.sleep(LOOK_SECONDS)


def _summarize(console: Console, settings: Settings, api: Api, campaign: Mapping[str, Any], rate: float) -> None:
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
        "achieved rate": f"{achieved_rate(made):.2f} a second of {rate:g} while contacts were waiting",
        "worst window": f"{worst} starts in any {window.window / 1e6:g} s, {window.starts} allowed",
    }
    console.print()
    console.print(table("Summary", rows))


async def _starts(settings: Settings, campaign_id: int) -> list[tuple[int, int]]:
    engine = create_engine(required(settings.database_url, "OUTDIAL_DATABASE_URL"))
    try:
        async with engine.connect() as connection:
            return await starts(connection, campaign_id)
    finally:
        await engine.dispose()
