"""The target of a signed request: ``@target-uri`` and ``@authority`` in AdCP's canonical form."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from ipaddress import IPv6Address

from postback.protocol.hostnames import normal_hostname

__all__ = ["SignatureTarget", "canonical_authority", "canonical_target"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PORT = re.compile(r"[0-9]{0,5}")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")


@dataclass(frozen=True, slots=True)
class SignatureTarget:
    """A request's target.

    Attributes:
        uri: The value of ``@target-uri``.
        authority: The value of ``@authority``.
    """

    uri: str
    authority: str


def canonical_target(url: str) -> SignatureTarget:
    """The canonical form of an absolute URL; its query stays unchanged.

    Raises:
        ValueError: The host is missing or malformed.
    """
    scheme, _, rest = url.partition("#")[0].partition("://")
    rest, mark, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    scheme = scheme.lower()
    authority = canonical_authority(authority, scheme)
    path = _ESCAPE.sub(_unescaped, _without_dot_segments(path))
    return SignatureTarget(f"{scheme}://{authority}{path}{mark}{query}", authority)


def canonical_authority(authority: str, scheme: str) -> str:
    """A host and its port: in lower case, as an A-label, without a trailing dot or the scheme's default port.

    Raises:
        ValueError: The host is missing or malformed.
    """
    host, port = _split(authority.rpartition("@")[2])
    if not _PORT.fullmatch(port):
        raise ValueError("malformed port")
    host = _address(host) if host.startswith("[") else _name(host)
    return host if not port or int(port) == _DEFAULT_PORTS.get(scheme) else f"{host}:{int(port)}"


def _split(authority: str) -> tuple[str, str]:
    """The host, with its brackets, and the port."""
    if not authority.startswith("["):
        host, _, port = authority.partition(":")
        return host, port
    address, bracket, rest = authority.partition("]")
    between, _, port = rest.partition(":")
    if between:
        raise ValueError("text between address and port")
    return address + bracket, port


def _address(host: str) -> str:
    if "%" in host or not host.endswith("]"):
        raise ValueError("a zone, which only its own machine understands, or a missing bracket")
    IPv6Address(host[1:-1])
    return host.lower()


def _name(host: str) -> str:
    name = host.lower().removesuffix(".") if host.isascii() else normal_hostname(host)
    if not name or "" in name.split("."):
        raise ValueError("no host")
    return name


def _without_dot_segments(path: str) -> str:
    """Removes dot segments from a path (RFC 3986, 5.2.4). Takes it without its first slash and returns it with one."""
    output: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            del output[-1:]
        elif segment != ".":
            output.append(segment)
    if segments[-1] in (".", ".."):
        output.append("")
    return "/" + "/".join(output)


def _unescaped(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()
