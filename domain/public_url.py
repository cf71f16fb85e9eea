"""Which addresses an installation that serves strangers may be told to call: public ones, by https."""

from ipaddress import ip_address
from urllib.parse import urlsplit

PRIVATE_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test", ".invalid")


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


def _is_public(host: str) -> bool:
    if host == "localhost" or host.endswith(PRIVATE_ENDINGS):
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not _is_number(host.rsplit(".", 1)[-1])


def _is_number(label: str) -> bool:
    """Resolvers read 127.1, 0x7f.1 and 2130706433 as addresses."""
    return label.isdigit() or label.startswith("0x")
