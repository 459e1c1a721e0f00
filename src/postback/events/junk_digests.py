"""Digests that identify nobody: of nothing, of placeholders, of macros, of country codes. Computed at start.

Two systems that hash a missing address get the same digest, and a match by it joins strangers.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5, sha1, sha256

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from postback.protocol.placeholders import DELIMITERS, JUNK_IN_IDENTIFIERS, JUNK_WORDS, NAME_DELIMITERS

__all__ = ["JUNK_DIGESTS"]

_NOTHING = (
    *("", " ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\0", "\u00a0", "\u200b", "\u3000", "\ufeff", "-1", "0.0", "---"),
    *('"', '""', "''", "b''", "[]", "{}", "()", '[""]', '["null"]', "[None]", '"null"', '"undefined"', "'null'"),
)
_SIGNS = "-+?._@*"
_NO_NUMBER = ("undefined", "null", "None", "none", "NaN", "nan")
"""What follows a plus sign or a country code when there is no number."""
_PRINTED = (
    "NaN",
    "nullnull",
    "undefinedundefined",
    "undefined@undefined",
    "null@null",
    "\\N",
    "Array",
    "[object Object]",
    "[object Undefined]",
    "[object Null]",
    "Object",
)
_TYPED = "test testing email e-mail phone tel no noemail no-email x xxx abc a asdf anonymous guest"
_ADDRESSES = """
test@test.com test@example.com example@example.com email@example.com user@example.com a@a.com a@b.com
noemail@noemail.com none@none.com null@null.com no@email.com test@test.test undefined@undefined.com example@email.com
email@email.com noreply@example.com null@example.com foo@bar.com abc@abc.com no@no.com na@na.com noemail@gmail.com
none@example.com undefined@example.com
your@email.com email@domain.com
"""
_NAMES = """
email Email EMAIL hashed_email user_email email_address customer.email user.email user_data.email contact.email
phone Phone PHONE hashed_phone user_phone phone_number customer.phone user.phone
"""
_HASHED_AGAIN = (
    "",
    " ",
    "\n",
    "null",
    "undefined",
    "none",
    "nan",
    "n/a",
    "0",
    "false",
    "[]",
    "\\n",
    "(not set)",
    "unknown",
    "#n/a",
    "array",
    "+",
    "-",
)
_MOST_DIGITS = 15
"""Of a telephone number."""


def _texts() -> Iterator[str]:
    """What is hashed when there is nothing to hash: the fewer, the faster is each look-up."""
    for word in (*_NOTHING, *_SIGNS, "--", *_PRINTED, *_TYPED.split(), *JUNK_WORDS, *JUNK_IN_IDENTIFIERS):
        for written in (word, word.upper(), word.lower(), word.capitalize()):
            yield from (written, f"{written}\n")
    for address in _ADDRESSES.split():
        yield from (address, f"{address}\n", address.upper(), address.title(), address.capitalize())
    for opening, closing in (*DELIMITERS, *NAME_DELIMITERS):
        yield from (f"{opening}{name}{closing}" for name in _NAMES.split())
    for opening, closing in DELIMITERS:
        yield from (f"{opening} {name} {closing}" for name in _NAMES.split())


def _numbers() -> Iterator[str]:
    """Telephone numbers without a subscriber: country codes, zeros; and numbers of one repeated digit."""
    for count in range(1, _MOST_DIGITS + 1):
        yield from ("0" * count, "+" + "0" * count, "+1" + "0" * (count - 1))
    for code in map(str, COUNTRY_CODE_TO_REGION_CODE):
        for written in (f"+{code}", code):
            yield from (written, f"{written} ", f" {written}", f"{written}\n", f"{written}-", f"({written})")
            yield from (f"{written}{word}" for word in _NO_NUMBER)
        yield f"00{code}"
        yield from (f"+{code}" + "0" * count for count in range(1, _MOST_DIGITS + 1 - len(code)))
    yield from (f"+{word}" for word in _NO_NUMBER)
    for digit in "123456789":
        yield from (f"+1{digit * 10}", digit * 10, f"+{digit * 11}")


def _hashed_again(text: bytes) -> Iterator[str]:
    """What becomes of a text's digest in a system that hashes what was hashed already."""
    once = sha256(text)
    for digest in (once, md5(text, usedforsecurity=False), sha1(text, usedforsecurity=False)):
        twice = sha256(digest.hexdigest().encode())
        yield twice.hexdigest()
        yield sha256(digest.hexdigest().upper().encode()).hexdigest()
        yield sha256(twice.hexdigest().encode()).hexdigest()
    yield sha256(once.digest()).hexdigest()


def _digests() -> Iterator[str]:
    for text in (*_texts(), *_numbers()):
        yield sha256(text.encode()).hexdigest()
    for word in (*_HASHED_AGAIN, *_ADDRESSES.split()):
        for written in {word, word.upper(), word.capitalize(), {"nan": "NaN"}.get(word, word)}:
            yield from _hashed_again(written.encode())
    for code in COUNTRY_CODE_TO_REGION_CODE:
        for number in (f"+{code}", f"{code}"):
            yield sha256(sha256(number.encode()).hexdigest().encode()).hexdigest()


JUNK_DIGESTS: frozenset[str] = frozenset(_digests())
"""Lower-case SHA-256 digests in hex."""
