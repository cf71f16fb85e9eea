"""`GET /api/health`: whether the stores answer. It names nothing else and asks for no token."""

from fastapi import APIRouter
from starlette.responses import Response

from workers.scrape import stores_up
from workers.web.answers import Answer, answer
from workers.web.auth import TheRuntime
from workers.web.errors import RETRY_AFTER_SECONDS, error_response

router = APIRouter(prefix="/api", tags=["health"])


class Health(Answer):
    status: str


@router.get("/health", response_model=Health, summary="Whether the stores answer")
async def health(runtime: TheRuntime) -> Response:
    away = [name for name, is_up in (await stores_up(runtime)).items() if not is_up]
    if away:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return error_response(503, f"{' and '.join(away)} does not answer", "try again soon", headers=headers)
    return answer(Health(status="ok"))
