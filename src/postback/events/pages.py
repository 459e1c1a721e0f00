"""The page where an event happened: on an allowed host, and without what identifies its visitor."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from postback.events.ip_addresses import is_address
from postback.events.personal_data import redact
from postback.events.rejection import Rejection
from postback.protocol.characters import decoded
from postback.protocol.hostnames import is_within, url_hostname

__all__ = ["stored_page"]

_PATH = r"[A-Za-z0-9_/~!$'()*,-]{0,63}"
_PLAIN_PAGE = re.compile(rf"(https?://([a-z0-9.-]+)(?<!\.)(?::\d{{1,5}})?(?:/{_PATH}(?:\.{_PATH})?)?)(?:[?#]\S*)?\Z")
"""Most pages. Their path can't contain personal data, which needs another sign, a second dot, or a digest's length."""

_SEGMENT = re.compile(r"(?<=/)[\da-fA-F:.]{3,45}(?=/|\Z)")


def stored_page(url: str, domains: tuple[str, ...]) -> str:
    """The page's address without query and fragment, where click ids and e-mail addresses live.

    Args:
        url: The event_source_url.
        domains: The allowed hosts with a leading dot, normalized; empty allows all.

    Raises:
        Rejection: It is not an absolute URI, or not on one of the domains.
    """
    plain = _PLAIN_PAGE.match(url)
    page, host = (plain[1], plain[2]) if plain else _unusual_page(url)
    if domains and not is_within(host, domains):
        allowed = ", ".join(domain[1:] for domain in domains)
        raise Rejection(
            "INVALID_REQUEST",
            f"event_source_url must be on one of the event source's allowed_domains: {allowed}.",
            "event_source_url",
        )
    return page


_LONG_AUTHORITY = re.compile(r"[^/?#]*//[^/?#]{512}")
"""Longer than any host name, port and credentials. Python normalizes it in quadratic time."""


def _unusual_page(url: str) -> tuple[str, str]:
    """The same for any other URI: upper case, credentials, app schemes, international names."""
    try:
        parts = urlsplit("" if _LONG_AUTHORITY.match(url) else url.strip())
        host = url_hostname(parts.hostname or "")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        parts, host, port = urlsplit(""), "", ""
    if not parts.scheme or not (host or parts.path):
        raise Rejection(
            "INVALID_REQUEST",
            "event_source_url must be an absolute URI, for example https://shop.example/checkout.",
            "event_source_url",
        )
    path = "" if _identifies(parts.path) else parts.path
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}:{'//' if host else ''}{shown}{port}{path}", host


def _identifies(path: str) -> bool:
    """Whether a path contains personal data, or an IP address as one of its parts."""
    return redact(path)[1] or any(is_address(segment[0]) for segment in _SEGMENT.finditer(decoded(path)))
