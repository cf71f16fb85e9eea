"""Which addresses strangers may have called."""

import pytest

from domain.public_url import url_problem


@pytest.mark.parametrize(
    "url",
    ["https://example.com/attempts", "https://8.8.8.8:8443/", "https://[2606:4700::1111]/", "https://a.b.example.com"],
)
def test_public_https_addresses_may_be_called(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://intranet/",
        "https://db.internal/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://224.0.0.1/",
        "https://example.com:99999/",
        "https:///path",
    ],
)
def test_private_plain_and_disguised_addresses_may_not(url: str) -> None:
    assert url_problem(url) is not None
