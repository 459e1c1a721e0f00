"""Cells of a table as values of an event: amounts, times, and identifiers that are hashed here."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers

from postback.errors import StartupError
from postback.events.rejection import Rejection

__all__ = ["Amounts", "Hasher", "Times", "check_hashed"]

_SPACES = " \u00a0\u2007\u2009\u202f"
_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d+)?[eE][+-]?\d+\Z")
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?\s*(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?\Z")
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
_EMAIL = re.compile(r"[^\s@,;<>\"()]+@[^\s@,;<>\"()]+\.[^\s@.,;<>\"()]{2,}\Z")
_SHORTEST_PHONE = len("+6834000")
"""Shorter ones are extensions and service numbers, which many people dial and nobody has."""

_DIGEST = re.compile(r"(?:0[xX]|[sS][hH][aA]-?256[:=-])?[0-9a-fA-F]{32,128}\Z")
_PHONE_LIKE = re.compile(r"'?[+(\d][\d\s()./-]{6,}\Z")

TIME_FORMATS = {"unix": 1, "unix_ms": 1_000}
"""Times that are counted from 1970 on → in which part of a second."""


class Amounts:
    """Reads amounts.

    Args:
        decimal: The decimal sign, ``.`` or ``,``; the other one may part thousands. None: a point, and an amount with
            a comma is refused, because it could mean either.
    """

    def __init__(self, decimal: str | None) -> None:
        self._decimal = decimal
        point, other = (",", ".") if decimal == "," else (".", ",")
        self._other = other
        self._pattern = re.compile(
            rf"([+-]?)([0-9]+|[0-9]{{1,3}}(?:([{re.escape(other)}'\u2019{_SPACES}])[0-9]{{3}})(?:\3[0-9]{{3}})*)"
            rf"(?:{re.escape(point)}([0-9]+))?\Z"
        )

    def read(self, text: str, field: str) -> Decimal:
        """The amount.

        Raises:
            Rejection: It can't be read, or in two ways.
        """
        if self._decimal is None and "," in text:
            raise _bad(field, "has a comma, which could mean thousands or decimals. Add --decimal , or --decimal .")
        match = self._pattern.match(text)
        if match:
            whole = re.sub(r"[^0-9]", "", match[2])
            return Decimal(f"{match[1]}{whole}.{match[4] or '0'}")
        if _SCIENTIFIC.match(text):
            raise _bad(field, "is in scientific notation, so a spreadsheet has cut it. Export it with all its digits")
        if any(character.isalpha() or unicodedata.category(character) == "Sc" for character in text):
            raise _bad(
                field,
                "has a currency symbol or letters. Keep the number alone, and give the currency with --map or --set "
                "custom_data.currency",
            )
        sign = self._decimal or "."
        raise _bad(field, f"is not a number with {sign!r} as its decimal sign. Say which sign it has with --decimal")


class Times:
    """Reads times.

    Args:
        timezone: The IANA name of the time zone of times without an offset, for example ``Europe/Berlin``; or None.
        formats: How times are written, as ``strptime`` takes it, or ``unix`` or ``unix_ms``; ISO 8601 is read always.

    Attributes:
        repeated: How many times were in an hour that happened twice, when clocks went back.

    Raises:
        StartupError: There is no such time zone.
    """

    def __init__(self, timezone: str | None, formats: tuple[str, ...]) -> None:
        self._name = timezone
        self._formats = formats
        self.repeated = 0
        try:
            self._zone = ZoneInfo(timezone) if timezone else None
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise StartupError(
                "--timezone is not a time zone of the IANA list. Use a name such as Europe/Berlin or UTC."
            ) from None

    def read(self, text: str, field: str) -> str:
        """The time as RFC 3339.

        Raises:
            Rejection: It can't be read, or there is no such time.
        """
        time = self._parsed(text, field)
        if time.tzinfo is None:
            time = self._local(time, field)
        return time.isoformat().replace("+00:00", "Z")

    def _parsed(self, text: str, field: str) -> datetime:
        for form in self._formats:
            try:
                if form in TIME_FORMATS:
                    return datetime.fromtimestamp(int(text) / TIME_FORMATS[form], UTC)
                return datetime.strptime(text, form)
            except (ValueError, OverflowError, OSError):
                continue
        match = _ISO.match(text)
        if match is None:
            raise _bad_time(field, self._unreadable(text))
        day, minutes, seconds, fraction, offset = match.groups()
        offset = {"Z": "+00:00", "z": "+00:00", "UTC": "+00:00", "GMT": "+00:00"}.get(offset, offset) or ""
        try:
            return datetime.fromisoformat(f"{day}T{minutes}{seconds or ':00'}.{(fraction or '0')[:6]:0<6}{offset}")
        except ValueError:
            raise _bad_time(field, "is a date or time that does not exist") from None

    def _unreadable(self, text: str) -> str:
        if self._formats:
            return "is not written as --time-format says, and not as ISO 8601"
        if _DAY.match(text):
            return "is a date without a time. If midnight is right, add --time-format %Y-%m-%d"
        if text.isdigit():
            return "is a number. If it counts seconds or milliseconds since 1970, add --time-format unix or unix_ms"
        return "is not written as ISO 8601. Say how it is with --time-format, for example '%d.%m.%Y %H:%M'"

    def _local(self, time: datetime, field: str) -> datetime:
        if self._zone is None:
            raise _bad_time(
                field, "has no UTC offset. Say where its clock stood with --timezone, for example Europe/Berlin"
            )
        first, second = (time.replace(tzinfo=self._zone, fold=fold) for fold in (0, 1))
        if first.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None, fold=0) != time:
            raise _bad_time(field, f"did not exist in {self._name}: the clocks went forward over it. Correct it")
        self.repeated += first.utcoffset() != second.utcoffset()
        return first


class Hasher:
    """Hashes e-mail addresses and phone numbers as AdCP says, after bringing them into the form that all senders use.

    Args:
        country: The two-letter code of the country of phone numbers without a country code; or None.

    Attributes:
        counts: By kind, ``email`` or ``phone``, and outcome: ``hashed``, ``empty``, ``unusable`` or ``digest``.
    """

    def __init__(self, country: str | None) -> None:
        self._country = country.upper() if country else None
        if self._country and self._country not in phonenumbers.SUPPORTED_REGIONS:
            raise StartupError("--country is not a two-letter country code. Use one such as DE or US.")
        self.counts: Counter[tuple[str, str]] = Counter()

    def digest(self, kind: str, text: str) -> str | None:
        """The SHA-256 of the normalized value; None, and counted, if there is no value or it can't be normalized."""
        if not text:
            self.counts[kind, "empty"] += 1
            return None
        if _DIGEST.match(text):
            self.counts[kind, "digest"] += 1
            return text
        normal = self._email(text) if kind == "email" else self._phone(text)
        self.counts[kind, "hashed" if normal else "unusable"] += 1
        return sha256(normal.encode()).hexdigest() if normal else None

    def _email(self, text: str) -> str | None:
        normal = text.removeprefix("mailto:").strip().lower()
        return normal if _EMAIL.match(normal) else None

    def _phone(self, text: str) -> str | None:
        text = text.removeprefix("'").removeprefix("tel:")  # spreadsheets keep a plus sign with an apostrophe
        if _SCIENTIFIC.match(text):
            return None
        try:
            number = phonenumbers.parse(text, self._country)
        except phonenumbers.NumberParseException:
            return None
        normal: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        return normal if phonenumbers.is_possible_number(number) and len(normal) >= _SHORTEST_PHONE else None


def check_hashed(kind: str, text: str, field: str) -> str:
    """What is sent as a digest, if it isn't an address or number that should have been hashed.

    Raises:
        Rejection: It is one. It is not sent anywhere.
    """
    if not _DIGEST.match(text) and ("@" in text or _PHONE_LIKE.match(text)):
        raise _bad(field, f"is not hashed. Add --hash {kind}, and it is hashed here. It was not sent")
    return text


def _bad(field: str, what: str) -> Rejection:
    return Rejection("INVALID_REQUEST", f"{field} {what}.".replace("..", "."), field)


def _bad_time(field: str, what: str) -> Rejection:
    return Rejection("INVALID_EVENT_TIME", f"{field} {what}.", field)
