"""Which addresses an installation that serves strangers may be told to call: public ones, by https."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

Url = Annotated[str, Field(min_length=8, max_length=2000, pattern=r"\Ahttps?://[!-?A-~]+\z")]

PRIVATE_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test", ".invalid")
# The one part of IPv6 that is given out for the public, and what in it is not: tunnels to IPv4, examples.
PUBLIC_IPV6 = ip_network("2000::/3")
# What the standard library's tables hold public, or some versions of them: protocol addresses, among them Oracle's
# metadata, relays to IPv6, and the address under which Azure's machines find theirs.
REFUSED = tuple(map(ip_network, ("2002::/16", "3fff::/20", "192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))


def url_problem(url: str) -> str | None:
    """Why this URL may not be called, or None. Names are judged again by their addresses when they are called."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme != "https":
        return "must begin with https://"
    if not _is_public(host):
        return "must name a public host"
    return None


def is_public_address(host: str) -> bool:
    """Whether this IP address is public; forms of IPv6 that carry an IPv4 address are refused whatever they carry."""
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address not in PUBLIC_IPV6:
        return False
    if any(address in network for network in REFUSED):
        return False
    return address.is_global and not address.is_multicast


def _is_public(host: str) -> bool:
    if host == "localhost" or host.endswith(PRIVATE_ENDINGS):
        return False
    try:
        return is_public_address(host)
    except ValueError:
        return "." in host and not _is_number(host.rsplit(".", 1)[-1])


def _is_number(label: str) -> bool:
    """Resolvers read 127.1, 0x7f.1 and 2130706433 as addresses."""
    return label.isdigit() or label.startswith("0x")
