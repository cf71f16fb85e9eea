"""That the peers of `make bench` do what they are compared for; how quickly is not asked here."""

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import psycopg
import pytest
from httpx import ASGITransport, AsyncClient

from infra.crypto import SIGNATURE_HEADER
from tests.bench.peers import callbacks, celery_worker, dialing, plain
from tests.bench.peers.settings import Peer


class Provider(BaseHTTPRequestHandler):
    """Takes every call."""

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"ref": f"ref-{order['attempt_id']}"}).encode()
        self.send_response(200 if self.headers[SIGNATURE_HEADER] else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def provider_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Provider) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/attempts"
        server.shutdown()


@pytest.fixture
def peer(database_url: str, redis_url: str, provider_url: str, monkeypatch: pytest.MonkeyPatch) -> Peer:
    one = Peer(database_url, redis_url, provider_url, "a secret of sixteen or more", 500, "http://127.0.0.1:9/")
    for name, value in one.environment().items():
        monkeypatch.setenv(name, value)
    with psycopg.connect(database_url) as connection:
        connection.execute(dialing.TABLE)
    return one


def test_a_call_is_complete_when_its_callback_has_been_committed(peer: Peer) -> None:
    task = dialing.Dialing(Peer.from_environment())
    task.dial(1, "+14155550133")
    task.close()
    before = counted(peer)

    status = asyncio.run(call_back({"attempt_id": 1, "status": "busy"}))

    assert status == 204
    assert (before, counted(peer)) == ((1, 0), (1, 1))


def test_the_queues_hold_what_the_workers_will_take(peer: Peer) -> None:
    plain.fill(peer.redis_url, ["+14155550133", "+14155550134"])
    celery_worker.fill(peer.redis_url, ["+14155550133"])
    broker = plain.make_broker()

    assert broker.client.hlen("peer:peer.msgs") == 2
    assert broker.client.llen("celery") == 1
    broker.close()


async def call_back(said: dict[str, object]) -> int:
    app = callbacks.make_app()
    async with app.router.lifespan_context(app), AsyncClient(transport=ASGITransport(app), base_url="http://x") as web:
        return (await web.post(callbacks.PATH, json=said)).status_code


def counted(peer: Peer) -> tuple[int, ...]:
    with psycopg.connect(peer.database_url) as connection:
        found: tuple[int, ...] = connection.execute(dialing.COUNTED).fetchone() or ()
    return found
