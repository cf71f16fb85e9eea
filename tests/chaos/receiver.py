"""A customer's webhook that fails half the time until it is told to be kind; it remembers every body it was sent.

What is not signed by the campaign's secret is refused, as a customer's would be, and remembered.
"""

import random
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from standardwebhooks import Webhook, WebhookVerificationError

from tests.builders import WEBHOOK_SECRET


@dataclass
class Receiver:
    """`bodies` are those that came under each event's id, `taken` the ids that were answered with success.

    `unsigned` are the ids of what came without a signature that holds.
    """

    chance: random.Random
    is_kind: bool = False
    bodies: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    taken: set[int] = field(default_factory=set)
    unsigned: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """The status it is answered with; a failure may come after it was heard, too."""
        event_id = int(headers["webhook-id"].split("_")[1])
        with self._lock:
            if not _is_signed(headers, body):
                self.unsigned.add(event_id)
                return 401
            self.bodies[event_id].add(body)
            if not self.is_kind and self.chance.random() < 0.5:
                return 500
            self.taken.add(event_id)
            return 200


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, _request: object, _client: object) -> None:
        """A caller that was killed resets its connection; what else goes wrong here is found missing at the end."""


def _is_signed(headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(WEBHOOK_SECRET).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(receiver.take({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: a body names people."""

    return Handler
