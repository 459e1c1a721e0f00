"""Keeps requests out of the seller's own network: the address that was checked is the one that is connected to."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx2

__all__ = ["Forbidden", "GuardedTransport", "is_public"]

_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
_DOCUMENTATION = ip_network("3fff::/20")
"""Python 3.11 takes it for public; it was reserved later."""

_RELAYED = (ip_network("2002::/16"), ip_network("2001::/32"), ip_network("192.88.99.0/24"))
"""6to4 and Teredo reach an IPv4 address through relays. Both are obsolete, and no server is there."""


class Forbidden(Exception):
    """A host that must not be connected to, because the destination's address is private or this machine's own."""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests to the address that a host resolves to, if it is public.

    The Host header and the name in TLS stay the host's, so certificates are verified as usual. The name is resolved
    once, so one that resolves to another address a moment later gains nothing.

    Args:
        allow_private: Whether every address is allowed.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpx2.AsyncHTTPTransport(retries=0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            Forbidden: The host has an address that is not public.
            httpx2.ConnectError: The host has none.
        """
        host = request.url.raw_host.decode()  # ``url.host`` is Unicode, which sockets and TLS encode by IDNA 2003
        address = await self._address(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        if request.url.scheme == "https":
            request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=address)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _address(self, host: str, port: int) -> str:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpx2.ConnectError("The host has no address.") from error
        addresses = [str(entry[4][0]) for entry in found]
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise Forbidden
        return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address is on the public internet, also if it is an IPv4 address embedded in IPv6."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or (IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in _NAT64 else ip)
    if isinstance(ip, IPv6Address) and (ip not in _GLOBAL_UNICAST or ip in _DOCUMENTATION):
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _RELAYED)
