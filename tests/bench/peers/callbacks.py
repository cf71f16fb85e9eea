"""The plain way to take callbacks: a FastAPI route with a commit for each of them, run by uvicorn.

It believes whoever asks, which is more than it should: that saves it the signatures.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response
from pydantic import BaseModel
from sqlalchemy import create_engine, text

from tests.bench.peers.settings import Peer

POOL = 20
PATH = "/callbacks"
_ENDED = text("UPDATE peer_attempts SET outcome = :outcome, ended_at = now() WHERE id = :id")


class Said(BaseModel):
    attempt_id: int
    status: str


def make_app() -> FastAPI:
    """The application, as uvicorn's `--factory` asks for it."""
    url = Peer.from_environment().database_url.replace("postgresql://", "postgresql+psycopg://")
    database = create_engine(url, pool_size=POOL, max_overflow=0)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        database.dispose()

    app = FastAPI(openapi_url=None, lifespan=lifespan)

    @app.post(PATH, status_code=204)
    def callback(said: Said) -> Response:
        with database.begin() as connection:
            connection.execute(_ENDED, {"id": said.attempt_id, "outcome": said.status})
        return Response(status_code=204)

    return app
