"""Warnings about accepted events, grouped by code so that 10,000 events produce a few sentences.

While an event is validated, a warning is its code, or code and subject with a space between: the field that it is
about, as ``JUNK_IDENTIFIER click_id``. Subjects come from closed lists; a field's name may be personal data.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from postback.events.dialects import ADCP_FIELDS

__all__ = ["EXPOSURE_WARNINGS", "WARNINGS", "dropped_identifiers", "group_warnings", "warning_codes"]

WARNINGS: dict[str, tuple[str, str]] = {
    "MISSING_USER_MATCH": (
        "have no user_match and cannot be attributed",
        "send hashed_email, hashed_phone, uids, click_id, or client_ip with client_user_agent",
    ),
    "MISSING_EVENT_SOURCE_URL": (
        "happened on a website but have no event_source_url",
        "send the page's address as event_source_url",
    ),
    "MISSING_VALUE": (
        "are purchases without custom_data.value; they count for ROAS only if a goal has another value_field",
        "send custom_data.value with custom_data.currency",
    ),
    "MISSING_CURRENCY": (
        "have a value without a currency, so the value does not count for any media buy",
        "send custom_data.currency as an ISO 4217 code, for example USD",
    ),
    "JUNK_ORDER_ID": (
        "have an order_id that does not identify an order (empty, zero, a placeholder or personal data); refunds are "
        "not matched by it",
        "send the order number as custom_data.order_id, or omit the field",
    ),
    "MISPLACED_FIELD": (
        "have value, currency or content_ids outside custom_data; they were moved into it",
        "send them inside custom_data",
    ),
    "REPAIRED_IDENTIFIER": (
        "have identifiers with surrounding whitespace, upper-case hex, a prefix, a port or a list of addresses; they "
        "were repaired",
        "send trimmed values, digests as 64 lower-case hexadecimal characters, and one IP address",
    ),
    "UNSUPPORTED_HASH": (
        "have a digest that is not SHA-256 (MD5, SHA-1, …); it was dropped",
        "hash with SHA-256",
    ),
    "JUNK_IDENTIFIER": (
        "have an identifier without a value (empty, null, a placeholder, or a digest of one); it was dropped",
        "omit the field if there is no value",
    ),
    "LOW_ENTROPY_IDENTIFIER": (
        "have a digest that repeats one character so often that it looks typed, not hashed; it was stored",
        "check that the field contains a real SHA-256 digest",
    ),
    "UNEXPANDED_MACRO": (
        "have an identifier that is an unexpanded macro; it was dropped",
        "check the macro's name in the ad server or the template",
    ),
    "PRIVATE_IP": (
        "have a client_ip from a private or reserved network; it was dropped",
        "send the visitor's public address, for example from X-Forwarded-For",
    ),
    "INVALID_CLIENT_IP": (
        "have a client_ip that is not a valid IP address; it was dropped",
        "send an IPv4 or IPv6 address",
    ),
    "INCOMPLETE_IP_MATCH": (
        "have only one of client_ip and client_user_agent, which does not identify anyone alone; it was dropped",
        "send both",
    ),
    "UNKNOWN_IDENTIFIER": (
        "have fields in user_match that AdCP does not have; they were not stored",
        "send AdCP's identifiers, for example hashed_email",
    ),
    "REPAIRED_EVENT_ID": (
        "have an event_id with surrounding whitespace or with accents as separate characters; it was trimmed and "
        "brought to Unicode NFC",
        "send the same trimmed event_id from every system",
    ),
    "REPAIRED_ORDER_ID": (
        "have an order_id with surrounding whitespace or with accents as separate characters; it was trimmed and "
        "brought to Unicode NFC",
        "send the same trimmed order_id with an order and its refunds",
    ),
    "ROUNDED_EVENT_ID": (
        "have an event_id in scientific notation, as spreadsheets write long numbers; different orders may have the "
        "same",
        "format the column as text before you export it",
    ),
    "SAME_ORDER_ID": (
        "have the order_id of another event of the same event_type under another event_id; each counts",
        "send one event_id for one order, from every system",
    ),
    "REPAIRED_CURRENCY": (
        "have a currency with surrounding whitespace; it was trimmed",
        "send three capital letters, for example USD",
    ),
    "REDACTED": (
        "have personal data outside user_match (an e-mail address, phone number, digest or identifier); it was removed",
        "send identifiers in user_match only",
    ),
    "DUPLICATE_DIFFERS": (
        "repeat the event_id of an earlier event with another event_time, value, currency, custom_event_name or "
        "order_id; the first one counts, and only new identifiers are added to it",
        "send each order and each renewal with an event_id of its own, and a refund for what an order lost",
    ),
    "FROM_BROWSER": (
        "came from a browser, where anyone can change what is sent",
        "log the same event from your server too, with the same event_id, and let goals name that source first",
    ),
    "LOW_MATCH_QUALITY": (
        "are accepted, but few of them are likely to match an exposure",
        "send hashed_email or hashed_phone with every event that has them",
    ),
}
"""Code → (what is wrong with the events, how to fix it)."""

EXPOSURE_WARNINGS: dict[str, tuple[str, str]] = {
    **{
        code: WARNINGS[code]
        for code in (
            "REPAIRED_IDENTIFIER",
            "UNSUPPORTED_HASH",
            "JUNK_IDENTIFIER",
            "LOW_ENTROPY_IDENTIFIER",
            "UNEXPANDED_MACRO",
            "PRIVATE_IP",
            "INVALID_CLIENT_IP",
            "INCOMPLETE_IP_MATCH",
            "UNKNOWN_IDENTIFIER",
            "REPAIRED_CURRENCY",
        )
    },
    "MISSING_USER_MATCH": (
        "have no usable identifier; they count as delivery, but no conversion can be attributed to them",
        "send the identifiers that you have for the person who saw or clicked",
    ),
    "UNKNOWN_FIELD": ("have unknown fields; they were not stored", "compare their names with the reference"),
    "OTHER_CURRENCY": (
        "have an amount in another currency than their media buy; the amount counts 0",
        "send it in the media buy's currency, which get_media_buys shows",
    ),
    "UNKNOWN_PACKAGE": (
        "name a media buy or package that is not registered; they count once it is registered",
        "register it with create_media_buy, or correct media_buy_id and package_id",
    ),
}
"""The same for exposures and delivery totals."""

_DROPPED = {
    "UNSUPPORTED_HASH": "is a digest other than SHA-256",
    "JUNK_IDENTIFIER": "is empty, a placeholder, or the digest of one",
    "UNEXPANDED_MACRO": "is an unexpanded macro",
    "PRIVATE_IP": "is from a private or reserved network",
    "INVALID_CLIENT_IP": "is not an IP address",
    "INCOMPLETE_IP_MATCH": "identifies nobody alone",
}
"""Why an identifier is not usable, to follow its name."""

_SHOWN = 3


def warning_codes(warnings: Iterable[str]) -> list[str]:
    """The codes of an event's warnings, each once, in order."""
    return list(dict.fromkeys([warning.partition(" ")[0] for warning in warnings]))


def dropped_identifiers(warnings: Iterable[str]) -> str:
    """Each identifier that was dropped and why, for the message of an event that has no other; empty without any.

    For example ``client_ip is from a private or reserved network (PRIVATE_IP); AdCP has no field em, send hashed_email
    (UNKNOWN_IDENTIFIER)``.
    """
    said: list[str] = []
    for warning in dict.fromkeys(warnings):
        code, _, subject = warning.partition(" ")
        if code in _DROPPED:
            said.append(f"{subject} {_DROPPED[code]} ({code})")
        elif code == "UNKNOWN_IDENTIFIER":
            what = f"AdCP has no field {subject}, send {ADCP_FIELDS[subject]}" if subject else "a field is unknown"
            said.append(f"{what} ({code})")
    return "; ".join(said)


def group_warnings(
    indexes: Mapping[str, list[int]],
    received: int,
    what: str = "events",
    said: Mapping[str, tuple[str, str]] = WARNINGS,
    subjects: Mapping[str, Collection[str]] | None = None,
) -> list[str]:
    """One sentence per code, for example ``CODE: 37/500 events [3,17,40,…] what. Fix: how``; most frequent first.

    Args:
        indexes: Code → places of the items that it is about.
        received: The items of the call.
        what: What they are.
        said: Code → (what is wrong with them, how to fix it).
        subjects: Code → the fields that it is about, to be named.
    """
    about = subjects or {}
    return [
        f"{code}: {len(at)}/{received} {what} [{_shown(at)}] {_explained(code, said[code], about.get(code, ()))}"
        for code, at in sorted(indexes.items(), key=lambda item: -len(item[1]))
    ]


def _explained(code: str, said: tuple[str, str], subjects: Collection[str]) -> str:
    problem, fix = said
    if subjects and code == "UNKNOWN_IDENTIFIER":
        fix = f"send {', '.join(f'{ADCP_FIELDS[name]} instead of {name}' for name in sorted(subjects))}"
    elif subjects:
        problem = f"{problem} ({', '.join(sorted(subjects))})"
    return f"{problem}. Fix: {fix}."


def _shown(at: list[int]) -> str:
    return ",".join(map(str, at[:_SHOWN])) + (",…" if len(at) > _SHOWN else "")
