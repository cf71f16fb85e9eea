"""Public keys: read when they are needed, remembered for a while, and never for every forged id."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from infra.jwks import MAKE_DO_SECONDS, READ_AGAIN_SECONDS, Jwks, KeysAwayError, public_keys, read_url
from tests.keys import ec_key, jwk, jwks, rsa_key

LIFETIME = 300.0


class Published:
    """A JWKS that can change, be away, and counts who reads it, on a clock of its own."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.document: bytes | None = jwks(*keys)
        self.reads = 0
        self.now = 1000.0
        self.takes = 0.0
        self.jwks = Jwks(self._read, "RS256", LIFETIME, lambda: self.now)

    def _read(self) -> bytes:
        self.reads += 1
        self.now += self.takes
        if self.document is None:
            raise OSError("away")
        return self.document

    def knows(self, kid: str | None) -> bool:
        return asyncio.run(self.jwks.key(kid)) is not None

    async def known_to_all(self, kid: str, askers: int) -> bool:
        return None not in await asyncio.gather(*(self.jwks.key(kid) for _ in range(askers)))


def test_keys_are_read_once_in_their_lifetime() -> None:
    published = Published(jwk(rsa_key(), "a"))

    found = [published.knows("a") for _ in range(3)]

    assert (found, published.reads) == ([True] * 3, 1)


def test_many_askers_share_one_reading() -> None:
    published = Published(jwk(rsa_key(), "a"))

    found = asyncio.run(published.known_to_all("a", 50))

    assert (found, published.reads) == (True, 1)


def test_j3_a_key_that_is_gone_stops_working_after_the_lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.jwks.HEED_SECONDS", 60.0)
    published = Published(jwk(rsa_key(), "a"))
    published.knows("a")
    published.document = jwks(jwk(rsa_key("two"), "b"))

    published.now += LIFETIME
    still = published.knows("a")
    published.now += 1

    assert (still, published.knows("a")) == (True, False)


def test_a_new_key_is_found_as_soon_as_a_token_names_it() -> None:
    published = Published(jwk(rsa_key(), "a"))
    published.knows("a")
    published.document = jwks(jwk(rsa_key(), "a"), jwk(rsa_key("two"), "b"))

    published.now += READ_AGAIN_SECONDS

    assert published.knows("b")


def test_unknown_ids_do_not_cause_a_reading_each() -> None:
    published = Published(jwk(rsa_key(), "a"))

    found = [published.knows(f"../../{number}") for number in range(200)]

    assert (any(found), published.reads) == (False, 1)


def test_keys_serve_on_while_they_cannot_be_read_but_not_for_ever() -> None:
    published = Published(jwk(rsa_key(), "a"))
    published.knows("a")
    published.document = None

    published.now += LIFETIME + 1
    still = published.knows("a")
    published.now += MAKE_DO_SECONDS

    assert still
    with pytest.raises(KeysAwayError):
        published.knows("a")


class Silent(Published):
    """Known keys that are due to be read again, by a reading that ends when it is released."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        super().__init__(*keys)
        self.released = threading.Event()
        self.released.set()

    def _read(self) -> bytes:
        self.released.wait()
        return super()._read()

    async def after_silence(self, kid: str, step: Callable[[], Awaitable[bool]]) -> bool:
        """What a step finds while the keys are due and their reader is silent; then that reading comes to its end."""
        await self.jwks.key(kid)
        self.now += LIFETIME + 1
        self.released.clear()
        try:
            return await step()
        finally:
            self.released.set()
            await self.jwks.key("one that has to wait")


def test_while_the_issuer_is_silent_known_keys_serve_on_and_one_reading_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("infra.jwks.HEED_SECONDS", 0.0)
    silent = Silent(jwk(rsa_key(), "a"))

    served = asyncio.run(silent.after_silence("a", lambda: silent.known_to_all("a", 20)))

    assert (served, silent.reads) == (True, 2)


def test_a_key_that_is_not_known_waits_for_the_reading_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.jwks.HEED_SECONDS", 0.0)
    silent = Silent(jwk(rsa_key(), "a"))

    async def new_key() -> bool:
        silent.document = jwks(jwk(rsa_key("two"), "b"))
        await silent.jwks.key("a")
        asyncio.get_running_loop().call_soon(silent.released.set)
        return await silent.known_to_all("b", 20)

    assert asyncio.run(silent.after_silence("a", new_key))
    assert silent.reads == 2


def test_a_reading_that_took_long_is_not_begun_again_at_once() -> None:
    published = Published(jwk(rsa_key(), "a"))
    published.takes, published.document = READ_AGAIN_SECONDS, None

    for _ in range(3):
        with pytest.raises(KeysAwayError):
            published.knows("a")

    assert published.reads == 1


def test_whatever_is_wrong_with_a_document_the_known_keys_serve_on(monkeypatch: pytest.MonkeyPatch) -> None:
    published = Published(jwk(rsa_key(), "a"))
    published.knows("a")
    monkeypatch.setattr("infra.jwks.public_keys", lambda *_: 1 // 0)

    published.now += LIFETIME + 1

    assert published.knows("a")


def test_keys_that_were_never_read_are_away() -> None:
    published = Published()
    published.document = b"<html>"

    with pytest.raises(KeysAwayError):
        published.knows("a")


def test_a_token_without_an_id_means_the_only_key() -> None:
    one = Published(jwk(rsa_key(), "a"))
    two = Published(jwk(rsa_key(), "a"), jwk(rsa_key("two"), "b"))

    assert (one.knows(None), two.knows(None)) == (True, False)


@pytest.mark.parametrize(
    "unfit",
    [
        pytest.param(jwk(rsa_key("small", 1024), "a"), id="a short RSA key"),
        pytest.param(jwk(ec_key(), "a"), id="a key of another kind"),
        pytest.param(jwk(rsa_key(), "a", use="enc"), id="a key for encryption"),
        pytest.param(jwk(rsa_key(), "a", alg="RS512"), id="a key for another algorithm"),
        pytest.param(jwk(rsa_key(), "a", d="AQAB"), id="a private key"),
        pytest.param(jwk(rsa_key(), "a", n="?"), id="a broken key"),
        pytest.param({"kty": "oct", "k": "c2VjcmV0", "kid": "a"}, id="a shared secret"),
        pytest.param(jwk(rsa_key(), None) | {"kid": 5}, id="an id that is no text"),
        pytest.param("a", id="no object"),
    ],
)
def test_keys_that_do_not_fit_are_left_out(unfit: Any) -> None:
    assert list(public_keys(jwks(unfit, jwk(rsa_key(), "good")), "RS256")) == ["good"]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": {}}', b"\xff"])
def test_what_is_no_jwks_is_an_error(document: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reader's messages vary
        public_keys(document, "RS256")


def test_a_url_is_read_without_following_redirects(server: str) -> None:
    assert read_url(f"{server}/keys")() == b'{"keys": []}'
    with pytest.raises(OSError, match="302"):
        read_url(f"{server}/elsewhere")()


def test_the_proxies_of_the_environment_are_not_asked_for_keys(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")

    assert read_url(f"{server}/keys")() == b'{"keys": []}'


def test_a_document_without_end_is_not_read_to_its_end(server: str) -> None:
    with pytest.raises(ValueError, match="larger than"):
        read_url(f"{server}/large")()


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Issuer) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()
        thread.join()


class Issuer(BaseHTTPRequestHandler):
    ANSWERS: ClassVar[dict[str, tuple[int, bytes]]] = {
        "/keys": (200, b'{"keys": []}'),
        "/elsewhere": (302, b""),
        "/large": (200, b" " * (1024 * 1024 + 1)),
    }

    def do_GET(self) -> None:
        status, body = self.ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Location", "/keys")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""
