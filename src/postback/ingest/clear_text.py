"""Personal data in the clear, where it must not be: found, so that it is neither stored nor repeated.

``user_match`` has its own rules (``ingest.identifiers``). This module looks at everything else of an event.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import phonenumbers

__all__ = ["REDACTED", "is_email", "is_phone", "looks_personal", "may_be_personal", "redact"]

REDACTED = "[redacted]"

# Every repetition is bounded, or starts where no other can: text of any length is searched in linear time.
_EMAIL = re.compile(r"[^\s@<>()\[\],;:\"/?&=|]{1,64}@[^\s@<>()\[\],;:\"/?&=|]{1,255}\.[^\W\d_]{2,63}")
_DIGEST = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])")
_PHONE = re.compile(r"\+\d[\d\s().-]{5,22}\d")
_IP = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|[\da-fA-F]*:[\da-fA-F.]*:[\da-fA-F:.]*")
_MAX_IP_LENGTH = 45
_NAME = (
    r"(?:[\w-]*[_-])?(?:e-?mail(?:_address)?|phone(?:_number)?|mobile|msisdn|ip(?:_address)?|user_agent|uids?"
    r"|[a-z]*click_?id|gclid|gbraid|wbraid|dclid|fbclid|fbc|fbp|ttclid|msclkid|twclid|li_fat_id|scclid|rampid|id5|uid2"
    r"|euid|maid|idfa|gaid)"
)
_NAMED = re.compile(rf"{_NAME}\Z", re.IGNORECASE)
_PARAMETER = re.compile(rf"((?:[?&#;]|%3F|%26|%23){_NAME}(?:=|%3D))[^&#;%\s]+", re.IGNORECASE)
_CAMEL_HUMP = re.compile(r"(?<=[a-z\d])(?=[A-Z])")

_FOLDED = bytes.maketrans(b"123456789abcdefABCDEF@%=+", b"0" * 21 + b"@@@@")
"""Every hexadecimal digit becomes a zero, and every sign that makes text worth a look becomes an @."""


def may_be_personal(text: bytes) -> bool:
    """Whether it is worth looking for personal data in ``text``; costs next to nothing."""
    folded = text.translate(_FOLDED)
    return b"@" in folded or b"0" * 64 in folded or b"Mozilla/" in text


def is_email(text: str) -> bool:
    """Whether an e-mail address stands somewhere in ``text``, percent-encoded or not."""
    plain = text.replace("%40", "@")
    return "@" in plain and _EMAIL.search(plain) is not None


def is_phone(text: str) -> bool:
    """Whether ``text`` is a phone number in the clear, with its country code."""
    text = text.strip()
    if not text.startswith("+") or not _PHONE.fullmatch(text):
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

    Replaced are e-mail addresses, phone numbers and SHA-256 digests inside strings, strings that are an IP address or
    a browser's user agent, and what is named like an identifier (``email``, ``gclid``, ``clientIp``, …), be it a
    member or a URL's parameter.
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
            safe, member_found = (REDACTED, True) if _is_named(name, member) else redact(member)
            kept[safe_name] = safe
            found = found or name_found or member_found
        return kept, found
    return value, False


def _is_named(name: str, member: Any) -> bool:
    """Whether a member is an identifier by its name; a flag is none, as in ``"email": true``."""
    return bool(member) and not isinstance(member, bool) and _NAMED.match(_CAMEL_HUMP.sub("_", name)) is not None


def _redact_text(text: str) -> tuple[str, bool]:
    if _is_ip(text) or text.startswith("Mozilla/") or ("%40" in text and is_email(text)):
        return REDACTED, True
    safe = _DIGEST.sub(REDACTED, text)
    if "@" in safe:
        safe = _EMAIL.sub(REDACTED, safe)
    if "+" in safe:
        safe = _PHONE.sub(lambda match: REDACTED if is_phone(match[0]) else match[0], safe)
    if "=" in safe or "%3" in safe:
        safe = _PARAMETER.sub(rf"\1{REDACTED}", safe)
    return safe, safe != text


def _is_ip(text: str) -> bool:
    if len(text) > _MAX_IP_LENGTH or not _IP.fullmatch(text):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
