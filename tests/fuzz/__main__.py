"""`make fuzz`: schemathesis for as long as it is told (`python -m tests.fuzz --max-time 600`), on stores of its own."""

import asyncio
import sys
import tempfile
from pathlib import Path

from infra.db.engine import create_engine
from infra.db.schema import migrate
from infra.embedded.stores import started
from infra.settings import load_settings
from tests.builders import ENCRYPTION_KEY, JWT_SECRET
from tests.fuzz.run import fuzz, populated, served

LONG = ("--max-examples", "200", "--max-time", "900", "--continue-on-failure")


async def _prepared(url: str) -> int:
    engine = create_engine(url)
    await migrate(engine)
    async with engine.begin() as connection:
        organization_id = await populated(connection)
    await engine.dispose()
    return organization_id


def main(options: list[str]) -> int:
    """The worse of the exit codes as a user and as nobody."""
    with tempfile.TemporaryDirectory(prefix="outdial-fuzz-") as folder, started(Path(folder) / "home") as stores:
        organization_id = asyncio.run(_prepared(stores.database_url))
        settings = load_settings(
            home=Path(folder),
            database_url=stores.database_url,
            redis_url=stores.redis_url,
            jwt_secret=JWT_SECRET,
            encryption_key=ENCRYPTION_KEY,
            log_level="error",
        )
        with served(settings) as url:
            runs = [fuzz(url, who, *(options or LONG), folder=Path(folder)) for who in (organization_id, None)]
    for run in runs:
        sys.stdout.write(run.stdout + run.stderr)
    return max(run.returncode for run in runs)


sys.exit(main(sys.argv[1:]))
