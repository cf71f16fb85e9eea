"""Whether anything shows somebody's number, or what was written to or by somebody: logs, Redis, metrics, error bodies.

Everybody's number begins alike here, and every message and name has a word in it that is found nowhere else.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from threading import Event
from typing import Any
from urllib.request import urlopen

import redis

from tests.chaos.site import Site
from workers.simulator.texting import SAYINGS, Said

MESSAGE_WORD, NAME_WORD = "tamarillo", "Quillfeather"
SHOWN = 5
_NUMBER = re.compile(rb"(?<![0-9.])(?:\+?1[ -]?)?\(?415\)?[ -]?(?:55[5-9]|56[0-9])[ -]?[0-9]{4}(?![0-9])")
_WORDS = re.compile("|".join(re.escape(word) for word in (MESSAGE_WORD, NAME_WORD, *SAYINGS[Said.TEXT])).encode())
_READ: dict[bytes | str, Callable[[Any, bytes], Any]] = {
    b"string": lambda client, key: client.get(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"set": lambda client, key: client.smembers(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1),
    b"hash": lambda client, key: client.hgetall(key),
    b"stream": lambda client, key: client.xrange(key),
}


def shows(content: bytes) -> str | None:
    """What of a person the content shows; None when it shows nothing."""
    if _NUMBER.search(content):
        return "a phone number"
    return "a message or a name" if _WORDS.search(content) else None


@dataclass(slots=True)
class Eyes:
    """`looked` counts what was read by kind, `leaks` says where something was found, and never what."""

    site: Site
    looked: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Until the block ends, read every command that Redis is given, whenever it is there to be asked."""
        over = Event()
        with ThreadPoolExecutor(1) as thread:
            watching = thread.submit(self._watch, over)
            try:
                yield
            finally:
                over.set()
            watching.result()

    def _watch(self, over: Event) -> None:
        while not over.is_set():
            with (
                suppress(redis.RedisError, OSError),
                self.site.redis(socket_timeout=1.0) as client,
                client.monitor() as monitor,
            ):
                while not over.is_set():
                    self.judge("commands of Redis", "a command", monitor.connection.read_response())
            over.wait(0.1)

    def look(self) -> None:
        """Read Redis and the metrics as they are now; what is away shows nothing."""
        with suppress(redis.RedisError), self.site.redis() as client:
            for key, content in _contents(client):
                self.judge("values of Redis", key.decode(errors="replace"), key + b" " + content)
        for url in self.site.metrics:
            with suppress(OSError, HTTPException), urlopen(url, timeout=1) as answer:  # noqa: S310 - our own http
                self.judge("pages of metrics", url, answer.read())

    def read_logs(self) -> None:
        for path in sorted(self.site.logs.glob("*.log*")):
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    self.judge("lines of logs", f"{path.name} line {number}", line)

    def judge(self, kind: str, where: str, content: bytes) -> None:
        self.looked[kind] += 1
        if found := shows(content):
            self.leaks.append(f"{where} ({kind}) shows {found}")

    def verdict(self) -> str:
        read = ", ".join(f"{many:,} {kind}" for kind, many in sorted(self.looked.items()))
        if not self.leaks:
            return f"personal data        ok ({read})"
        return f"personal data        VIOLATED ({read}): {len(self.leaks)} times, like {self.leaks[:SHOWN]}"


def _contents(client: "redis.Redis") -> Iterator[tuple[bytes, bytes]]:
    for key in client.scan_iter(count=1000):
        read = _READ.get(client.type(key))
        if read is not None:
            with suppress(redis.ResponseError):
                yield key, repr(read(client, key)).encode()
