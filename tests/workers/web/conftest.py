"""The API on a real database and Redis."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from infra.settings import Settings
from tests.builders import organization
from tests.workers.web.asking import Api, Reports
from tests.workers.web.routes import Owned, owned
from workers.runtime import open_runtime
from workers.web.app import create_app


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    reports = Reports()
    with asyncio.Runner() as runner:
        opened = open_runtime(settings)
        runtime = runner.run(opened.__aenter__())
        app = create_app(runtime, reports.record)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://outdial.test")
        api = Api(runner, runtime, reports, client, app.callbacks, organization_id=0)
        api.organization_id = api.rows(organization)
        yield api
        runner.run(client.aclose())
        runner.run(opened.__aexit__(None, None, None))


@pytest.fixture
def mine(api: Api) -> Owned:
    """One of everything that an organization has."""
    return owned(api, api.organization_id)


@pytest.fixture
def theirs(api: Api) -> Owned:
    """The same of another organization."""
    return owned(api, api.rows(lambda db: organization(db, "Other")))
