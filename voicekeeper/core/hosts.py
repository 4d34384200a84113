"""Which hosts are this very machine, and which addresses are public."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

PORTS: Final = range(1, 65_536)

_GLOBAL: Final = ip_network("2000::/3")
"""All that is given out of IPv6; of the rest, older Pythons take much for public."""

_TRANSLATED: Final = ip_network("64:ff9b::/96")
"""Where a network of IPv6 alone has the IPv4 addresses of the world (RFC 6052)."""

_SPECIAL: Final = tuple(
    ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")
)
"""Of IANA's special-purpose registries: with Teredo and 6to4, which lead on to any IPv4 address."""


def read(host: str) -> Address | None:
    """Return the address that a host is written as, that of IPv4 for one mapped into IPv6.

    Args:
        host: an address without brackets, or a name, for which there is none.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this very machine."""
    address = read(host)
    if address is not None:
        return address.is_loopback
    return host == "localhost" or host.endswith(".localhost")


def is_public(host: str) -> bool:
    """Return whether an address is one that all the internet shares; a name is none."""
    address = read(host)
    if isinstance(address, IPv6Address):
        if address in _TRANSLATED:
            return is_public(str(IPv4Address(int(address) & 0xFFFF_FFFF)))
        if address not in _GLOBAL:
            return False
    if address is None or any(address in special for special in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast
