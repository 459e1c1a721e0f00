"""IP addresses as senders write them: alone, with a port, or as the list that X-Forwarded-For is."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from socket import AF_INET, inet_pton

__all__ = ["MAX_ADDRESS", "are_public_ipv4", "first_public_address", "is_address", "single_address", "split_addresses"]

_PRIVATE_IPV4 = frozenset(
    number.to_bytes(2)
    for network in map(
        ipaddress.IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
    for number in range(int(network.network_address) >> 16, (int(network.broadcast_address) >> 16) + 1)
)
"""The first two bytes of addresses that say nothing about who is behind them; documentation's are let by."""

_PRIVATE_IPV6 = tuple(map(ipaddress.IPv6Network, ("::/127", "fc00::/7", "fe80::/10", "ff00::/8")))

MAX_ADDRESS = 64
"""Longer text is no IP address, with or without a zone, and must not fill the cache of those that were seen."""
_MAX_LIST = 1024
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d{1,5})?|(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}")
_SHAPE = re.compile(r"[\da-fA-F:.]{2,45}")


def split_addresses(text: str) -> list[str]:
    """The parts of a comma-separated list, each without a port, brackets and quotes; none of a text too long for one.

    For example ``[2001:db8::1]:443, 10.0.0.1`` or ``for=203.0.113.9``.
    """
    return [_bare(part) for part in text.split(",")] if len(text) <= _MAX_LIST else []


def _bare(part: str) -> str:
    bare = part.strip()
    if bare[:4].lower() == "for=":
        bare = bare[4:].partition(";")[0].strip()
    bare = bare.strip('"')
    found = _WITH_PORT.fullmatch(bare)
    return (found[1] or found[2] or "") if found else bare


def is_address(text: str) -> bool:
    """Whether a text is an IP address, public or not."""
    if not _SHAPE.fullmatch(text):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def first_public_address(text: str) -> tuple[str, str | None]:
    """The first public address of a list, or of one address with a port: see ``single_address``."""
    problem = "INVALID_CLIENT_IP"
    for part in split_addresses(text):
        address, found = single_address(part) if len(part) <= MAX_ADDRESS else ("", problem)
        if not found:
            return address, None
        problem = "PRIVATE_IP" if found == "PRIVATE_IP" else problem
    return "", problem


def are_public_ipv4(texts: Iterable[str]) -> bool:
    """Whether each is a public IPv4 address as it is usually written, which is its shortest form."""
    try:
        # A thirtieth of what ipaddress takes, and as strict: four decimal numbers without leading zeros.
        packed = [inet_pton(AF_INET, text) for text in texts]
    except (OSError, ValueError):
        return False
    return _PRIVATE_IPV4.isdisjoint([address[:2] for address in packed])


def single_address(text: str) -> tuple[str, str | None]:
    """An address in its shortest form, and a warning code if it is unusable."""
    return (text, None) if are_public_ipv4((text,)) else _other_address(text)


@lru_cache(maxsize=16_384)
def _other_address(text: str) -> tuple[str, str | None]:
    """The same for any other text than a public IPv4 address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "", "INVALID_CLIENT_IP"
    if isinstance(address, ipaddress.IPv6Address):
        if not address.ipv4_mapped:
            private = any(address in network for network in _PRIVATE_IPV6)
            return ("", "PRIVATE_IP") if private else (address.compressed, None)
        address = address.ipv4_mapped
    return ("", "PRIVATE_IP") if address.packed[:2] in _PRIVATE_IPV4 else (address.compressed, None)
