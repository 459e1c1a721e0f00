"""Event ids: repaired where every sender means the same, refused where a template left no id or told of a person."""

from __future__ import annotations

import re
from collections.abc import Collection

from postback.events.personal_data import REDACTED, looks_personal
from postback.events.rejection import Rejection
from postback.protocol.characters import WHITE_SPACE, describe_unprintable, is_slug, normalized_id
from postback.protocol.placeholders import JUNK_WORDS, UNFILLED_ENDINGS, ends_unfilled, is_unfilled

__all__ = [
    "MAX_LENGTH",
    "are_plain_ids",
    "check_id",
    "is_ordinary_id",
    "is_plain_id",
    "is_unfilled_id",
    "names_an_order",
    "plainly_name_orders",
]

MAX_LENGTH = 256

_ORDINARY = re.compile(r"[A-Za-z0-9_.:/=~-]*[A-Za-z0-9]\Z")
_DIGITS = frozenset("0123456789")
_SCIENTIFIC = re.compile(r"(?<![0-9A-Za-z.,])[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{1,3}\Z")


def is_plain_id(event_id: str) -> bool:
    """Whether an id (not empty) is plainly good: letters, digits, hyphens and underscores, with a digit at the end.

    Words and macros that a template left don't end with a digit, but for one that begins with a dollar sign.
    """
    return are_plain_ids((event_id,))


def are_plain_ids(ids: Collection[str]) -> bool:
    """Whether each of some ids (none empty) is plain. A joint look at all costs a fifth of one at each."""
    return _DIGITS.issuperset([id_[-1] for id_ in ids]) and is_slug("".join(ids))


def is_ordinary_id(event_id: str) -> bool:
    """The same for more ids at a higher price: usual ASCII characters, and no end that an unfilled one has."""
    return is_plain_id(event_id) or (
        _ORDINARY.match(event_id) is not None
        and not event_id.endswith(UNFILLED_ENDINGS)
        and event_id.lower() not in JUNK_WORDS
    )


def names_an_order(order_id: str) -> bool:
    """Whether an order_id tells one order from others: not empty, zero, redacted, or what a template left."""
    if not _have_names((order_id,)):
        return False
    return is_plain_id(order_id) or not (is_unfilled(order_id) or looks_personal(order_id))


def plainly_name_orders(order_ids: Collection[str]) -> bool:
    """Whether each of some order_ids plainly tells one order from others: most do."""
    return _have_names(order_ids) and are_plain_ids(order_ids)


def _have_names(order_ids: Collection[str]) -> bool:
    return "" not in [order_id.strip("0-_. ") for order_id in order_ids] and REDACTED not in order_ids


def check_id(event_id: str, warnings: list[str]) -> str:
    """The id, repaired.

    Raises:
        Rejection: It has a character that can't be seen, contains personal data, or is what a template left.
    """
    if is_ordinary_id(event_id):
        return event_id
    repaired = normalized_id(event_id)
    leading = len(event_id) - len(event_id.lstrip(WHITE_SPACE))
    if unprintable := describe_unprintable(event_id.strip(WHITE_SPACE), leading + 1):
        raise _rejected(f"event_id contains {unprintable}. Use printable characters only.")
    if looks_personal(repaired):
        raise _rejected(
            "event_id contains an e-mail address or phone number. Use an order number or a UUID. The value was not "
            "stored."
        )
    if is_unfilled_id(repaired):
        raise _rejected(
            "event_id looks like a variable that nobody filled in. Send the order number or another id that only this "
            "event has."
        )
    if len(repaired) > MAX_LENGTH:
        raise _rejected(f"event_id must be a string of 1 to {MAX_LENGTH} characters.")
    if repaired != event_id:
        warnings.append("REPAIRED_EVENT_ID")
    if _SCIENTIFIC.search(repaired):
        warnings.append("ROUNDED_EVENT_ID")
    return repaired


def is_unfilled_id(text: str) -> bool:
    """Whether a template left an id, or its last part, without a value. ``0`` is an id."""
    return not text or (not is_ordinary_id(text) and (is_unfilled(text) or ends_unfilled(text)))


def _rejected(message: str) -> Rejection:
    return Rejection("INVALID_REQUEST", message, "event_id")
