"""`GET /api/health`: whether the stores answer. It names nothing else and asks for no token."""

from fastapi import APIRouter
from starlette.responses import Response

from workers.probes import OF_THE_WEB
from workers.scrape import stores_up
from workers.web.answers import Answer, answer
from workers.web.auth import TheRuntime
from workers.web.errors import RETRY_AFTER_SECONDS, error_response

router = APIRouter(prefix="/api", tags=["health"])


class Health(Answer):
    """`degraded`: it serves all the same, and what it accepts is done later. `away` names the store."""

    status: str
    away: tuple[str, ...] = ()


@router.get("/health", response_model=Health, summary="Whether the stores answer")
async def health(runtime: TheRuntime) -> Response:
    away = [name for name, is_up in (await stores_up(runtime)).items() if not is_up]
    if OF_THE_WEB & set(away):
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return error_response(503, f"{' and '.join(away)} does not answer", "try again soon", headers=headers)
    return answer(Health(status="degraded" if away else "ok", away=tuple(away)))
