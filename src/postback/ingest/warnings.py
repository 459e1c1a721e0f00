"""Warnings: what was accepted but should be better, grouped by code so that 10,000 events make a few sentences."""

from __future__ import annotations

__all__ = ["EXPOSURE_WARNINGS", "WARNINGS", "group_warnings"]

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
        "are purchases without custom_data.value; they add to ROAS only where a goal names another value_field",
        "send custom_data.value with custom_data.currency",
    ),
    "MISSING_CURRENCY": (
        "have a value without a currency, so the value counts for no media buy",
        "send custom_data.currency as an ISO 4217 code",
    ),
    "MISPLACED_FIELD": (
        "have value, currency or content_ids beside custom_data; they were moved into it",
        "send them inside custom_data",
    ),
    "REPAIRED_IDENTIFIER": (
        "have identifiers with surrounding space, upper-case hex or a prefix; they were repaired",
        "send trimmed values and digests as 64 lower-case hexadecimal characters",
    ),
    "UNSUPPORTED_HASH": (
        "have a digest that is not SHA-256 (MD5, SHA-1, …); it was dropped",
        "hash with SHA-256",
    ),
    "JUNK_IDENTIFIER": (
        "have an identifier that stands for nothing (empty, null, a placeholder, or a digest of one); it was dropped",
        "leave the field out when there is no value",
    ),
    "LOW_ENTROPY_IDENTIFIER": (
        "have a digest that repeats one character so often that it looks typed, not hashed; it was kept",
        "check that the field holds a real SHA-256 digest",
    ),
    "UNEXPANDED_MACRO": (
        "have a click id or universal ID that is a macro nobody filled in; it was dropped",
        "check the macro's name in the ad server",
    ),
    "PRIVATE_IP": (
        "have a client_ip from a private or reserved network; it was dropped",
        "send the visitor's public address, for instance from X-Forwarded-For",
    ),
    "INVALID_CLIENT_IP": ("have a client_ip that is no IP address; it was dropped", "send an IPv4 or IPv6 address"),
    "INCOMPLETE_IP_MATCH": (
        "have only one of client_ip and client_user_agent, which alone identify nobody; it was dropped",
        "send both",
    ),
    "UNKNOWN_IDENTIFIER": (
        "have members in user_match that AdCP does not know; they were not kept",
        "send AdCP's identifiers, as hashed_email",
    ),
    "REDACTED": (
        "held personal data outside user_match (an e-mail address, phone number, digest or identifier); it was removed",
        "send identifiers in user_match only",
    ),
    "LOW_MATCH_QUALITY": (
        "were accepted, but few of them are likely to be matched",
        "send hashed_email or hashed_phone with every event that has them",
    ),
}
"""Code → (what about the events, how to fix it)."""

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
        )
    },
    "MISSING_USER_MATCH": (
        "have no user_match; they count as delivery, and no conversion can be attributed to them",
        "send the identifiers that you have of the person who saw or clicked",
    ),
    "UNKNOWN_FIELD": ("have members that are not known; they were not kept", "compare their names with the reference"),
    "UNKNOWN_PACKAGE": (
        "name a media buy or package that is not registered; they count for it once it is",
        "register it with create_media_buy, or correct media_buy_id and package_id",
    ),
}
"""The same for exposures and delivery totals."""

_SHOWN = 3


def group_warnings(
    indexes: dict[str, list[int]],
    received: int,
    what: str = "events",
    said: dict[str, tuple[str, str]] = WARNINGS,
) -> list[str]:
    """One sentence per code, as ``CODE: 37/500 events [3,17,40,…] what. Fix: how``; most frequent first."""
    return [
        f"{code}: {len(at)}/{received} {what} [{_shown(at)}] {said[code][0]}. Fix: {said[code][1]}."
        for code, at in sorted(indexes.items(), key=lambda item: -len(item[1]))
    ]


def _shown(at: list[int]) -> str:
    return ",".join(map(str, at[:_SHOWN])) + (",…" if len(at) > _SHOWN else "")
