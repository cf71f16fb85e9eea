"""S2, S3: names that lead somewhere else than they seem to, and answers of resolvers that change."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from infra.connections.transport import Address, Transport, UnreachableError

PUBLIC, OTHER = "8.8.8.8", "2606:4700::1111"
Answers = Sequence[Sequence[str]]


class World:
    """A resolver that gives these answers in turn, and connections that are noted and refused."""

    def __init__(self, answers: Answers) -> None:
        self.answers = [*answers]
        self.connected: list[tuple[str, str | None]] = []

    async def getaddrinfo(self, _host: str, port: int, **_options: Any) -> list[Any]:
        return [(2, 1, 6, "", (address, port)) for address in self.answers.pop(0)]

    async def create_connection(
        self, _protocol: object, host: str, _port: int, *, server_hostname: str | None, **_options: Any
    ) -> None:
        self.connected.append((host, server_hostname))
        raise ConnectionRefusedError


@pytest.fixture
def borrowed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Where a transport connects for a name, and why it gives up, when it is asked so often."""

    def borrow(answers: Answers, *, times: int = 1) -> tuple[list[tuple[str, str | None]], list[str]]:
        world, reasons = World(answers), []
        for name in ("getaddrinfo", "create_connection"):
            made = getattr(world, name)
            monkeypatch.setattr(asyncio.BaseEventLoop, name, lambda _loop, *a, _made=made, **k: _made(*a, **k))

        async def ask() -> None:
            transport = Transport(connect_seconds=5, request_seconds=5, private_allowed=False)
            for _ in range(times):
                with pytest.raises(UnreachableError) as told:
                    await transport.borrow(Address.of("https://hooks.example.com/"))
                reasons.append(str(told.value))

        asyncio.run(ask())
        return world.connected, reasons

    return borrow


def test_s2_a_name_is_resolved_once_and_the_judged_address_is_connected_to(borrowed: Any) -> None:
    """Whoever answers the second question otherwise is not asked one: TLS still asks for the name."""
    connected, reasons = borrowed([[PUBLIC], ["127.0.0.1"]])

    assert (connected, reasons) == ([(PUBLIC, "hooks.example.com")], ["ConnectionRefusedError"])


def test_s2_each_delivery_judges_the_name_again(borrowed: Any) -> None:
    connected, reasons = borrowed([[PUBLIC], ["127.0.0.1"]], times=2)

    assert connected == [(PUBLIC, "hooks.example.com")]
    assert reasons == ["ConnectionRefusedError", "PrivateAddressError"]


@pytest.mark.parametrize(
    "addresses",
    [
        [PUBLIC, "10.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [PUBLIC, OTHER, "::1"],
        ["169.254.169.254"],
        ["0.0.0.0"],  # noqa: S104 - compared, not bound
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["64:ff9b::808:808"],
        ["2002:7f00:1::"],
        ["100.64.0.1"],
        ["fd00:ec2::254"],
        ["fe80::1%1"],
        [],
    ],
)
def test_s3_one_address_that_is_not_public_is_enough_to_refuse_the_name(borrowed: Any, addresses: list[str]) -> None:
    assert borrowed([addresses]) == ([], ["PrivateAddressError"])


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_s1_no_proxy_of_the_environment_is_used(borrowed: Any, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:3128")

    assert borrowed([[PUBLIC]])[0] == [(PUBLIC, "hooks.example.com")]
