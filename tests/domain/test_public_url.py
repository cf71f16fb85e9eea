"""Which addresses strangers may have called."""

import pytest

from domain.public_url import is_public_address, url_problem


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
        "https://0/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://[::ffff:7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://metadata.google.internal/",
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
def test_s1_private_plain_and_disguised_addresses_may_not(url: str) -> None:
    assert url_problem(url) is not None


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - this host; compared, not bound
        "100.100.100.200",  # Alibaba's metadata, shared address space
        "168.63.129.16",  # Azure's machines find theirs there
        "192.0.0.192",  # Oracle's metadata
        "192.88.99.1",  # relay to IPv6
        "255.255.255.255",
        "::",
        "::7f00:1",  # IPv4 in the last 32 bits, in the forms there have been
        "::ffff:8.8.8.8",
        "::ffff:0:7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001::1",  # Teredo
        "fec0::1",  # a site's own, as it once was
        "fd00:ec2::254",  # Amazon's metadata
        "fe80::1%eth0",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "4000::1",
        "ff0e::1",
    ],
)
def test_s3_addresses_that_are_no_public_host_are_refused(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "192.0.1.1", "168.63.129.17", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_not(address: str) -> None:
    assert is_public_address(address)
