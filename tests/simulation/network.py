"""TCP between the product and its provider: streams in memory that are late, cut, refused or swallowed."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.loop import OUTSIDE, PROCESS, present

Answer = Callable[[bytes, "Line"], None]
"""Takes a whole request as it arrives, and sees to it that it is answered."""


@dataclass(slots=True)
class Network:
    """`sent` is told of each request at the instant its first byte leaves, `arrived` when it is there."""

    chance: random.Random
    sent: Callable[[bytes], None]
    arrived: Answer
    slowest_seconds: float = 0.02
    refused_until: float = 0.0
    hung_until: float = 0.0
    lost: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)

    async def connect(self, factory: Callable[[], asyncio.Protocol], _host: str, _port: int) -> Any:
        await asyncio.sleep(self.delay())
        if present().time() < self.refused_until:
            self.count("connection refused")
            raise ConnectionRefusedError
        if present().time() < self.hung_until:
            self.count("connection hung")
            await asyncio.sleep(3600)
        protocol = factory()
        line = Line(self, protocol, PROCESS.get())
        protocol.connection_made(line)
        return line, protocol

    def delay(self) -> float:
        return self.chance.uniform(0.0002, self.slowest_seconds)

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def loses(self, what: str) -> bool:
        lost = self.lost > 0 and self.chance.random() < self.lost
        if lost:
            self.count(what)
        return lost


class Line(asyncio.Transport):
    """The product's end of a connection, and what the provider does with the other."""

    def __init__(self, network: Network, protocol: asyncio.Protocol, process: Any) -> None:
        super().__init__()
        self._network, self._protocol, self._process = network, protocol, process
        self._is_open = True
        if process is not None:
            process.lines.append(self)

    def write(self, data: Any) -> None:
        network = self._network
        if not self._is_open:
            return
        network.sent(bytes(data))
        if network.loses("request lost") or present().time() < network.hung_until:
            if network.chance.random() < 0.5:
                self._in_the_world(network.delay(), self.cut)
            return
        self._in_the_world(network.delay(), network.arrived, bytes(data), self)

    def answer(self, data: bytes) -> None:
        """The provider's answer, in pieces; a part of it, when the connection breaks meanwhile."""
        network = self._network
        cut = network.loses("answer lost")
        if cut:
            data = data[: network.chance.randrange(len(data))]
        middle = network.chance.randrange(len(data) + 1)
        first = network.delay()
        for delay, piece in ((first, data[:middle]), (first + network.delay(), data[middle:])):
            if piece:
                self._in_the_world(delay, self._receive, piece)
        if cut and network.chance.random() < 0.7:
            self._in_the_world(first + 0.05, self.cut)

    def cut(self) -> None:
        """The connection breaks; whoever still lives is told."""
        if self._is_open:
            self._is_open = False
            self._forget()
            self._as_process(self._protocol.connection_lost, ConnectionResetError())

    def abort(self) -> None:
        if self._is_open:
            self._is_open = False
            self._forget()
            present().call_soon(self._protocol.connection_lost, None)

    def close(self) -> None:
        self.abort()

    def is_closing(self) -> bool:
        return not self._is_open

    def _receive(self, data: bytes) -> None:
        if self._is_open:
            self._as_process(self._protocol.data_received, data)

    def _forget(self) -> None:
        if self._process is not None and self in self._process.lines:
            self._process.lines.remove(self)

    def _as_process(self, function: Any, *values: Any) -> None:
        if self._process is None:
            present().call_soon(function, *values)
            return
        if not self._process.is_dead:
            self._process.do(function, *values)

    def _in_the_world(self, delay: float, function: Any, *values: Any) -> None:
        """What the network does goes on whatever becomes of the process."""
        present().call_later(delay, function, *values, context=OUTSIDE)
