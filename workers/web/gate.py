"""The gate before every path of the API: no token, no answer. What is open is listed; a new route is closed by itself.

It stands before routing and before any body is read, so that refusing costs little.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from infra.db.engine import autocommit
from infra.db.organizations import organization
from workers.runtime import Runtime
from workers.web.auth import Caller
from workers.web.client import client_network
from workers.web.errors import UnauthenticatedError, told
from workers.web.rates import Failures, Rates
from workers.web.tokens import GET_A_TOKEN, RefusedTokenError, refused, tokens

SECOND = 1_000_000
CLOSED = "/api/"
# Health and the description are nobody's; callbacks are believed by their signature.
OPEN = frozenset({"/api/health", "/api/docs", "/api/openapi.json"})
OPEN_BELOW = ("/api/docs/assets/", "/api/callbacks/")


class Gate:
    """ASGI middleware that puts the caller into the scope."""

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime
        self._tokens = tokens(runtime.settings, lambda: runtime.clock.now() / SECOND)
        self._rates = Rates(runtime.settings.requests_per_second)
        self._failures = Failures(runtime.settings.failed_tokens_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_closed(scope["path"]):
            try:
                scope["caller"] = await self._known(scope)
            except Exception as error:  # noqa: BLE001 - whatever it was, it is told in the one body
                await told(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _known(self, scope: Scope) -> Caller:
        """The caller. Tokens that do not hold are counted by address, and a genuine one passes however many there were:
        who shares an address with somebody that guesses is not locked out.
        """
        try:
            return await self._caller(scope)
        except RefusedTokenError:
            await self._failures.count(client_network(scope, self._runtime.settings.trusted_proxies))
            raise

    async def _caller(self, scope: Scope) -> Caller:
        """Whoever the token names; UnauthenticatedError when there is none that holds."""
        payload = await self._tokens.read(_bearer(scope))
        await self._rates.count((payload.org, payload.sub))
        async with autocommit(self._runtime.database).connect() as connection:
            found = await organization(connection, payload.org)
        if found is None:
            raise refused(f"the token's organization {payload.org} does not exist")
        return Caller(found, payload.sub, frozenset(payload.scope.split()))


def _is_closed(path: str) -> bool:
    return path.startswith(CLOSED) and path not in OPEN and not path.startswith(OPEN_BELOW)


def _bearer(scope: Scope) -> str:
    """The token; two of them would leave it open which one was judged."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    kind, _, token = given[0].decode("latin-1").partition(" ") if len(given) == 1 else ("", "", "")
    if kind.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("no bearer token was sent", GET_A_TOKEN)
    return token.strip()
