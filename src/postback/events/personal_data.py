"""Detection of unhashed personal data outside ``user_match``, so that it is neither stored nor echoed.

It is found whatever its encoding: percent-encoded, also twice, as HTML character references, in full width.
``user_match`` has its own rules (``events.identifiers``).
"""

from __future__ import annotations

import re
from typing import Any

import phonenumbers

from postback.events.ip_addresses import is_address, split_addresses
from postback.protocol.characters import decoded

__all__ = ["REDACTED", "has_phone", "is_email", "is_phone", "looks_personal", "may_be_personal", "redact"]

REDACTED = "[redacted]"

# Every repetition is bounded, or starts where no other can: text of any length is searched in linear time.
_EMAIL = re.compile(
    r"[^\s@<>()\[\],;:\"/?&=|]{1,64}@[^\s@<>()\[\],;:\"/?&=|]{1,255}\.(?:xn--[a-zA-Z0-9-]{1,59}|[^\W\d_]{2,63})"
)
_DIGEST = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])")
_PHONE = re.compile(r"\+\d[\d\s()./\u2010-\u2015-]{5,22}\d")
_PHONE_IN_ID = re.compile(rf"(?<![^\W_]){_PHONE.pattern}")
"""In an id, a plus sign in the middle of letters and digits is base64."""
_DIGITS = re.compile(r"\d+")
_LEAST_DIGITS, _MOST_DIGITS = 8, 15
_COUNTRY_CODES = frozenset(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
_DOTS_OF_IPV4 = 3
_COLONS_OF_IPV6 = 2
_PHONE_NAME = r"(?:(?:tele)?phone(?:_number)?|tel|mobile|msisdn)"
_EMAIL_NAME = r"e[_-]?mails?(?:_address(?:es)?|_adresse)?"
_NAME = (
    rf"(?:[\w-]*[_-])?(?:{_EMAIL_NAME}|{_PHONE_NAME}|ip(?:_address)?|user_agent|uids?"
    r"|[a-z]*click_?id|gclid|gbraid|wbraid|dclid|fbclid|fbc|fbp|ttclid|msclkid|twclid|li_fat_id|scclid|rampid|id5|uid2"
    r"|euid|maid|idfa|gaid)"
)
_NAMED = re.compile(rf"{_NAME}\Z", re.IGNORECASE)
_NAMED_EMAIL = re.compile(rf"(?:[\w-]*[_-])?{_EMAIL_NAME}\Z", re.IGNORECASE)
_NAMED_PHONE = re.compile(rf"(?:[\w-]*[_-])?{_PHONE_NAME}\Z", re.IGNORECASE)
_PARAMETER = re.compile(rf"((?:\A|[?&#;]|%3F|%26|%23){_NAME}(?:=|%3D))[^&#;%\s]+", re.IGNORECASE)
_CAMEL_HUMP = re.compile(r"(?<=[a-z\d])(?=[A-Z])")
_LEAST_PHONE = 10_000_000

_FOLDED = bytes.maketrans(b"123456789abcdefABCDEF@%=+&", b"0" * 21 + b"@@@@@")
"""Every hexadecimal digit becomes a zero, and every sign that makes text worth a look becomes an @."""

_NOT_IN_ADDRESSES = bytes(byte for byte in range(256) if byte not in b'.:"')
"""What is deleted so that the dots and colons of an IP address stand side by side, and those of other strings don't."""


def may_be_personal(text: bytes) -> bool:
    """Whether ``text`` may contain personal data; a cheap pre-check that passes over nothing that ``redact`` finds."""
    folded = text.translate(_FOLDED)
    if b"@" in folded or b"0" * 64 in folded or b"\xef" in text or (b"/" in text and b"Mozilla/" in text):
        return True
    left = text.translate(None, _NOT_IN_ADDRESSES)
    return b"..." in left or b"::" in left


def is_email(text: str) -> bool:
    """Whether ``text`` contains an e-mail address, encoded or not."""
    if "@" in text and _EMAIL.search(text):
        return True
    plain = decoded(text)
    return plain != text and "@" in plain and _EMAIL.search(plain) is not None


def is_phone(text: str) -> bool:
    """Whether ``text`` as a whole is an unhashed phone number with its country code, encoded or not."""
    plain = decoded(text).strip()
    return plain.startswith("+") and _PHONE.fullmatch(plain) is not None and _is_possible(plain)


def has_phone(text: str) -> bool:
    """Whether an id contains an unhashed phone number with its country code, encoded or not."""
    plain = decoded(text)
    return "+" in plain and any(_phone_length(found[0]) for found in _PHONE_IN_ID.finditer(plain))


def looks_personal(text: str) -> bool:
    """Whether ``text`` contains an e-mail address or a phone number, encoded or not."""
    return is_email(text) or has_phone(text)


def redact(value: Any) -> tuple[Any, bool]:
    """Replace what identifies a person in a JSON value; returns the value and whether anything was replaced.

    Replaced are e-mail addresses, phone numbers and SHA-256 digests inside strings, strings that are IP addresses or
    a browser's user agent, and what is named like an identifier (``email``, ``gclid``, ``clientIp``, …), be it a
    member or a URL's parameter. A string that contains such data in an encoding is replaced as a whole.
    """
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, list):
        items = [redact(item) for item in value]
        return [item for item, _ in items], any(found for _, found in items)
    if isinstance(value, dict):
        redacted: dict[str, Any] = {}
        found = False
        for name, inner in value.items():
            safe_name, name_found = _redact_text(name)
            safe, inner_found = (REDACTED, True) if _is_named(name, inner) else redact(inner)
            redacted[safe_name] = safe
            found = found or name_found or inner_found
        return redacted, found
    return value, False


def _is_named(name: str, value: Any) -> bool:
    """Whether a field is an identifier by its name; a flag, for example ``"email": true``, is not, nor is an amount."""
    if not value or isinstance(value, bool):
        return False
    snake = _CAMEL_HUMP.sub("_", name).replace("-", "_").replace(" ", "_")
    if not _NAMED.match(snake):
        return False
    if not isinstance(value, int | float):
        return True
    if isinstance(value, float) and not value.is_integer():
        return False
    return not _NAMED_EMAIL.match(snake) and (abs(value) >= _LEAST_PHONE or not _NAMED_PHONE.match(snake))


def _redact_text(text: str) -> tuple[str, bool]:
    if _identifies(text):
        return REDACTED, True
    safe = _redact_parts(text)
    if "%" in safe or "&" in safe or not safe.isascii():
        plain = decoded(safe)
        if plain != safe and (_identifies(plain) or _redact_parts(plain) != plain):
            return REDACTED, True
    return safe, safe != text


def _redact_parts(text: str) -> str:
    safe = _DIGEST.sub(REDACTED, text)
    if "@" in safe:
        safe = _EMAIL.sub(REDACTED, safe)
    if "+" in safe:
        safe = _PHONE.sub(_without_phone, safe)
    if "=" in safe or "%3" in safe:
        safe = _PARAMETER.sub(rf"\1{REDACTED}", safe)
    return safe


def _without_phone(found: re.Match[str]) -> str:
    length = _phone_length(found[0])
    return REDACTED + found[0][length:] if length else found[0]


def _phone_length(text: str) -> int:
    """How much of a text that begins with a plus sign is a phone number; other digits may follow it."""
    if _is_possible(text):
        return len(text)
    # Only what the length and the country code tell: a parser for each part would make long texts expensive.
    digits, length = "", 0
    for group in _DIGITS.finditer(text):
        digits += group[0]
        if _LEAST_DIGITS <= len(digits) <= _MOST_DIGITS and any(int(digits[:n]) in _COUNTRY_CODES for n in (1, 2, 3)):
            length = group.end()
    return length


def _is_possible(number: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False


def _identifies(text: str) -> bool:
    """Whether a text as a whole is a user agent, an IP address, or a list of them."""
    text = text.strip()
    if text.startswith("Mozilla/"):
        return True
    if text.count(".") < _DOTS_OF_IPV4 and text.count(":") < _COLONS_OF_IPV6:
        return False
    parts = split_addresses(text)
    return bool(parts) and all(map(is_address, parts))
