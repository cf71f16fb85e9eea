"""Whose address a request comes from: the socket's peer, or what proxies say that the operator trusts.

Anybody can write X-Forwarded-For, so it is read from its end, as far as each hop was written by a trusted one. What
stands before that, however much, is not looked at.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import chain

from starlette.types import Scope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
NOWHERE = IPv6Address(0)
# Whoever has one address of IPv6 has all of its network.
OWN_BITS = 64
MOST_HOPS = 20


def client_network(scope: Scope, trusted: Sequence[Network]) -> Network:
    """The address, or the network in IPv6, of whoever asks; that of the zero address where there is none to tell."""
    nearest: Address = NOWHERE
    for nearest in chain([_peer(scope)], _forwarded(scope)):
        if not _is_in(nearest, trusted):
            break
    own = OWN_BITS if isinstance(nearest, IPv6Address) else nearest.max_prefixlen
    return ip_network((nearest, own), strict=False)


def _peer(scope: Scope) -> Address:
    """A socket of this machine has no address."""
    return next(_addresses([scope["client"][0]]), NOWHERE) if scope.get("client") else NOWHERE


def _forwarded(scope: Scope) -> Iterator[Address]:
    """From the nearest hop to the furthest that can be read; nothing is read before it is asked for."""
    said = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    yield from _addresses(reversed(",".join(said).rsplit(",", MOST_HOPS)[-MOST_HOPS:]))


def _addresses(texts: Iterable[str]) -> Iterator[Address]:
    """Until the first that is none."""
    with suppress(ValueError):
        for text in texts:
            address = ip_address(text.strip())
            yield (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
