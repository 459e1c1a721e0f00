"""Whom a connection is counted for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ["sender"]


def sender(client: tuple[str, int] | None) -> str:
    """An IPv4 address, or the /64 network of an IPv6 address, which one host has.

    Args:
        client: ``client`` of the ASGI scope: behind a trusted proxy what the proxy says.
    """
    try:
        address: IPv4Address | IPv6Address = ip_address(client[0] if client else "")
    except ValueError:
        return "an unknown address"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        network = int(address) >> 64 << 64
        return f"{IPv6Address(network)}/64"
    return str(address)
