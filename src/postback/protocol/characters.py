"""Characters of ids and identifiers: those that can't be seen, and text behind its encodings."""

from __future__ import annotations

import re
import string
import unicodedata
from html import unescape
from urllib.parse import unquote

__all__ = ["WHITE_SPACE", "decoded", "describe_unprintable", "is_slug", "normalized_id"]

WHITE_SPACE = " \t\r\n"
"""What is trimmed from an id. Any other white space is a character that can't be told from it, and refused."""

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Printable by their category, and nothing to see."""

_CATEGORIES = {
    "Cc": "control character",
    "Co": "private-use character",
    "Cs": "surrogate",
    "Cn": "unassigned character",
}
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,10});")
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0xFE6B: "@", 0xFE62: "+"}
_SLUG = f"{string.ascii_letters}{string.digits}-_".encode()
_ENCODINGS = 4
"""How many encodings around one another are taken off: a URL in a URL's parameter has two."""


def is_slug(text: str) -> bool:
    """Whether a text is of ASCII letters, digits, hyphens and underscores only."""
    return text.isascii() and not text.encode().translate(None, _SLUG)


def describe_unprintable(text: str, first: int = 1) -> str | None:
    """The first invisible or unprintable character of a text and its position; None if there is none.

    For example ``U+200B (zero width space) at character 5``. Only the space is printable of all kinds of white space.

    Args:
        text: The text.
        first: The position of its first character.
    """
    if text.isprintable() and (text.isascii() or _BLANK.isdisjoint(text)):
        return None
    for position, character in enumerate(text, start=first):
        if not character.isprintable() or character in _BLANK:
            kind = _CATEGORIES.get(unicodedata.category(character), "unprintable character")
            name = unicodedata.name(character, kind).lower()
            return f"U+{ord(character):04X} ({name}) at character {position}"
    return None


def decoded(text: str) -> str:
    """A text without the encodings that hide characters from a search; itself when it has none.

    Percent-encoding, also of what is percent-encoded, HTML's character references, and full-width forms.
    """
    for _ in range(_ENCODINGS):
        before = text
        if "%" in text:
            text = unquote(text)
        if "&" in text:
            text = _ENTITY.sub(lambda entity: unescape(entity[0]), text)
        if text == before:
            break
    return text if text.isascii() else text.translate(_FULL_WIDTH)


def normalized_id(text: str) -> str:
    """An id without surrounding white space and in Unicode's NFC: the same, however it was typed."""
    return unicodedata.normalize("NFC", text.strip(WHITE_SPACE))
