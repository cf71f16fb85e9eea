"""Real processes: one `outdial up` with a simulated provider for each test that asks for it."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from infra.db.engine import create_engine
from infra.db.organizations import Wanted
from infra.embedded import secrets
from infra.settings import Settings
from tests.acceptance.waiting import until
from workers.demo.client import Api
from workers.demo.installation import Installation, own_settings, running
from workers.installation import with_stores
from workers.runtime import required
from workers.token import Grant, issue

FAST = {
    "RETRY_MINUTE_SECONDS": "0.2",
    "LOOK_UP_SECONDS": "[1, 2, 3, 3]",
    "ABSENT_SECONDS": "2",
    "REQUEST_TIMEOUT_SECONDS": "2",
}
CALLERS = ["+14155550100", "+14155550101", "+14155550102"]


@dataclass(frozen=True, slots=True)
class Site:
    """An installation with an organization and a connection to the simulated provider."""

    installation: Installation
    api: Api
    connection_id: int
    settings: Settings

    @property
    def witness(self) -> Path:
        return self.installation.home / "simulator.log"

    def campaign(self, rate: float, contacts: Sequence[str], **app_config: Any) -> int:
        """A campaign with these phone numbers, started; it ends by itself when all are final."""
        config = {
            "app_id": "agent",
            "attempts_per_second": rate,
            "connection_configs": [{"connection_id": self.connection_id}],
        }
        body = {"name": "Acceptance", "app_config": config | app_config, "end_when_exhausted": True}
        campaign_id = int(self.api.post("/api/campaigns", body)["campaign_id"])
        csv = "\n".join(["phone", *contacts, ""]).encode()
        self.api.upload(f"/api/campaigns/{campaign_id}/cohorts/upload", "list.csv", csv)
        self.api.post(f"/api/campaigns/{campaign_id}/start", {})
        return campaign_id

    def shown(self, campaign_id: int) -> Any:
        return self.api.get(f"/api/campaigns/{campaign_id}")

    def when(self, campaign_id: int, condition: Callable[[Any], bool], seconds: float = 90.0) -> Any:
        """The campaign as soon as the API shows it so."""
        return until(lambda: self.shown(campaign_id), condition, seconds)

    def rows(self, statement: str) -> list[Any]:
        return asyncio.run(_rows(required(self.settings.database_url, "OUTDIAL_DATABASE_URL"), statement))


Open = Callable[..., AbstractContextManager[Site]]


@pytest.fixture
def site(tmp_path: Path) -> Open:
    """Opens a site: `with site(moods="…") as it:`; everything is stopped at the end of the block."""

    @contextmanager
    def opened(moods: str = "", **settings: str) -> Iterator[Site]:
        home = tmp_path / "home"
        own = own_settings(home, FAST | settings)
        with running(home, FAST | settings, moods) as installation, with_stores(own) as complete:
            token = issue(own, Wanted("Acme", default_region="US"), Grant("tester"), create=True)
            api = Api(installation.url, token)
            secret = secrets.installed(home).simulator_secret.get_secret_value()
            body = {
                "name": "Trunk",
                "kind": "http",
                "settings": {"url": installation.simulator, "secret": secret},
                "phone_numbers": CALLERS,
            }
            yield Site(installation, api, api.post("/api/connections", body)["connection_id"], complete)

    return opened


async def _rows(url: str, statement: str) -> list[Any]:
    engine = create_engine(url)
    try:
        async with engine.connect() as connection:
            return list((await connection.execute(text(statement))).all())
    finally:
        await engine.dispose()
