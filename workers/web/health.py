"""`GET /api/health`: whether the stores answer. It names nothing else and asks for no token."""

import asyncio
from collections.abc import Awaitable

import asyncpg
from fastapi import APIRouter
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from infra.db.engine import autocommit
from workers.runtime import Runtime
from workers.web.answers import Answer, answer
from workers.web.auth import TheRuntime
from workers.web.errors import RETRY_AFTER_SECONDS, error_response

router = APIRouter(prefix="/api", tags=["health"])

WAIT_SECONDS = 3.0
AWAY = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError)


class Health(Answer):
    status: str


@router.get("/health", response_model=Health)
async def health(runtime: TheRuntime) -> Response:
    checks = {"PostgreSQL": _database(runtime), "Redis": asyncio.to_thread(runtime.broker.client.ping)}
    answers = await asyncio.gather(*(_answers(check) for check in checks.values()))
    away = [name for name, answered in zip(checks, answers, strict=True) if not answered]
    if away:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return error_response(503, f"{' and '.join(away)} does not answer", "try again soon", headers=headers)
    return answer(Health(status="ok"))


async def _answers(check: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await check
    except AWAY:
        return False
    return True


async def _database(runtime: Runtime) -> None:
    async with autocommit(runtime.database).connect() as connection:
        await connection.execute(text("SELECT 1"))
