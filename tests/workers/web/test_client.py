"""Whose address a request comes from, whatever it says of itself."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from workers.web import client
from workers.web.client import MOST_HOPS, Address, client_network

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
CASES: dict[str, tuple[str | None, list[str], str]] = {
    "the peer": ("203.0.113.7", [], "203.0.113.7/32"),
    "no proxy of ours is not believed": ("203.0.113.7", ["198.51.100.1"], "203.0.113.7/32"),
    "what our proxy saw": ("10.0.0.1", ["198.51.100.1"], "198.51.100.1/32"),
    "what stands before it anybody may have written": ("10.0.0.1", ["127.0.0.1, 198.51.100.1"], "198.51.100.1/32"),
    "two proxies of ours": ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1/32"),
    "the header twice": ("10.0.0.1", ["1.1.1.1", "198.51.100.1"], "198.51.100.1/32"),
    "only proxies of ours": ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3/32"),
    "nonsense": ("10.0.0.1", ["unknown"], "10.0.0.1/32"),
    "nonsense behind a hop": ("10.0.0.1", ["198.51.100.1, _hidden, 10.0.0.2"], "10.0.0.2/32"),
    "nothing": ("10.0.0.1", [""], "10.0.0.1/32"),
    "IPv6 is counted by its network": ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
    "IPv4 in IPv6": ("::ffff:203.0.113.7", [], "203.0.113.7/32"),
    "a proxy in IPv6": ("fd00::1", ["2001:db8::9"], "2001:db8::/64"),
    "a socket of this machine": (None, ["198.51.100.1"], "::/64"),
}


@pytest.mark.parametrize("name", CASES)
def test_j5_a_client_is_who_the_nearest_hop_we_trust_has_seen(name: str) -> None:
    peer, forwarded, expected = CASES[name]
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope: dict[str, Any] = {"client": peer and (peer, 50_000), "headers": headers}

    assert str(client_network(scope, PROXIES)) == expected


@pytest.mark.parametrize(
    ("peer", "forwarded", "read"),
    [
        pytest.param("203.0.113.7", "::," * 20_000, ["203.0.113.7"], id="of a peer that is not trusted, nothing"),
        pytest.param("10.0.0.1", "::," * 20_000 + "198.51.100.1, 10.0.0.2", ["10.0.0.1", "10.0.0.2", "198.51.100.1"]),
        pytest.param("10.0.0.1", "10.0.0.2," * 7_000 + "10.0.0.2", ["10.0.0.1"] + ["10.0.0.2"] * MOST_HOPS),
    ],
)
def test_j5_what_is_said_to_stand_behind_the_client_is_not_read(
    peer: str, forwarded: str, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []

    def counted(text: str) -> Address:
        parsed.append(text)
        return ip_address(text)

    monkeypatch.setattr(client, "ip_address", counted)
    scope: dict[str, Any] = {"client": (peer, 50_000), "headers": [(b"x-forwarded-for", forwarded.encode())]}

    client_network(scope, PROXIES)

    assert parsed == read
