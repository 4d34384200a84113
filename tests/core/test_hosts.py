"""Which addresses are public: none that leads, by whatever way, into a network of one's own."""

import pytest

from voicekeeper.core import hosts


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8",
     "::ffff:8.8.8.8"],
)  # fmt: skip
def test_a_public_address(address: str) -> None:
    assert hosts.is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.1", "255.255.255.255", "240.0.0.1", "224.0.0.1", "198.18.0.1", "192.0.2.1"),
        *("192.0.0.8", "192.0.0.170", "192.88.99.1"),
        *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:0:127.0.0.1"),
        *("64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::c000:8", "64:ff9b:1::8.8.8.8"),
        *("2002:7f00::", "2002:7f00:1::", "2002:0a00:1::1", "2002:808:808::1"),
        *("2001::7f00:1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8::1", "3fff::1"),
        *("fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00::1", "ff02::1", "100::1"),
        *("5f00::1", "4000::1", "localhost", "example.com", ""),
    ],
)
def test_one_that_is_none(address: str) -> None:
    assert not hosts.is_public(address)


@pytest.mark.parametrize(
    ("host", "loops"),
    [
        *((host, True) for host in ("localhost", "a.localhost", "127.9.9.9", "::1")),
        *((host, False) for host in ("localhost.example.com", "128.0.0.1", "::2", "")),
    ],
)
def test_the_names_and_addresses_of_this_machine(host: str, *, loops: bool) -> None:
    assert hosts.is_loopback(host) is loops
