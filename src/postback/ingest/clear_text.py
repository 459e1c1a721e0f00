"""Personal data in the clear, where it must not be: found, so that it is neither stored nor repeated.

``user_match`` has its own rules (``ingest.identifiers``). This module looks at everything else of an event.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import phonenumbers

__all__ = ["REDACTED", "is_email", "is_phone", "looks_personal", "redact"]

REDACTED = "[redacted]"

_EMAIL = re.compile(r"[^\s@<>()\[\],;:\"/?&=|]+@[^\s@<>()\[\],;:\"/?&=|]+\.[^\W\d_]{2,}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}\Z")
_PHONE = re.compile(r"\+[\d\s().-]{7,24}\Z")
_IDENTIFIER_NAMES = re.compile(
    r"(?:.*_)?(?:e-?mail|phone(?:_number)?|mobile|msisdn|ip|ip_address|user_agent|uids?|click_?id"
    r"|gclid|gbraid|wbraid|dclid|fbclid|fbc|fbp|ttclid|msclkid|twclid|li_fat_id|scclid|rampid|id5|uid2|euid|maid|idfa|gaid)\Z",
    re.IGNORECASE,
)


def is_email(text: str) -> bool:
    """Whether an e-mail address stands somewhere in ``text``, percent-encoded or not."""
    plain = unquote(text) if "%40" in text else text
    return "@" in plain and _EMAIL.search(plain) is not None


def is_phone(text: str) -> bool:
    """Whether ``text`` is a phone number in the clear, with its country code."""
    text = text.strip()
    if not text.startswith("+") or not _PHONE.match(text):
        return False
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(text))
    except phonenumbers.NumberParseException:
        return False


def looks_personal(text: str) -> bool:
    """Whether ``text`` holds an e-mail address or is a phone number."""
    return is_email(text) or is_phone(text)


def redact(value: Any) -> tuple[Any, bool]:
    """Replace what identifies a person in a JSON value; returns the value and whether anything was replaced.

    Replaced are e-mail addresses inside strings, phone numbers, SHA-256 digests, and the values of members that are
    named like identifiers (``email``, ``gclid``, ``client_ip``, …).
    """
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, list):
        members = [redact(member) for member in value]
        return [member for member, _ in members], any(found for _, found in members)
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        found = False
        for name, member in value.items():
            safe_name, name_found = _redact_text(name)
            named = isinstance(member, str | list) and bool(member) and _IDENTIFIER_NAMES.match(name) is not None
            safe, member_found = (REDACTED, True) if named else redact(member)
            kept[safe_name] = safe
            found = found or name_found or member_found
        return kept, found
    return value, False


def _redact_text(text: str) -> tuple[str, bool]:
    if _DIGEST.match(text) or is_phone(text):
        return REDACTED, True
    if "@" in text:
        safe, count = _EMAIL.subn(REDACTED, text)
        return safe, count > 0
    if "%40" in text and is_email(text):
        return REDACTED, True
    return text, False
