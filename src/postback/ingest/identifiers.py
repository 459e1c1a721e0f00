"""Identifiers: checked, repaired where nothing is lost, turned into match keys, and forgotten.

A match key is 16 bytes: one byte that says the kind of identifier, then 15 bytes of BLAKE2b keyed with the install's
secret over the kind and the normalised value. Events and exposures get theirs from the same function, so equal
identifiers meet; without the secret a key says nothing about the identifier. No value reaches a message, a log line
or a file.

Rules: the Identifiers section of semantics; shapes: core/user-match.json.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b, sha256

import msgspec

from postback.ingest.clear_text import is_email, is_phone
from postback.ingest.event import UserMatch
from postback.ingest.quality import PRIORS
from postback.ingest.rejection import Rejection
from postback.protocol.enums import UID_TYPES

__all__ = ["JUNK_DIGESTS", "KEY_BYTES", "KINDS", "UNMATCHABLE", "IdentifierHasher", "Matchable", "looks_typed"]

KEY_BYTES = 16

KINDS: dict[int, str] = {
    1: "hashed_email",
    2: "hashed_phone",
    3: "click_id",
    4: "client_ip+client_user_agent",
    **{16 + number: f"uid:{uid_type}" for number, uid_type in enumerate(UID_TYPES) if uid_type != "hashed_email"},
}
"""First byte of a match key → kind of identifier. Numbers are stored: never reuse one."""

_EMAIL, _PHONE, _CLICK_ID, _IP_UA = 1, 2, 3, 4
_UID_KINDS = {kind.removeprefix("uid:"): number for number, kind in KINDS.items()} | {"hashed_email": _EMAIL}

_CHANCE_TO_MISS = {number: 1.0 - PRIORS[kind.partition(":")[0]] for number, kind in KINDS.items()}

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_OTHER_DIGEST = re.compile(r"(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{96}|[0-9a-f]{128})\Z")
_PREFIX = re.compile(r"\A(?:0x|sha-?256[:=-])", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~=/*-]{15,}\Z")
"""Most click ids and universal IDs: nothing in them can be a macro, an unset word or personal data."""
_MACRO = re.compile(r"\{\{|\$\{|%%|\A\{.*\}\Z|\A__\w+__\Z|\A\[\w+\]\Z")
_MAX_IP_LENGTH = 64
"""Longer text is no IP address, with or without a zone, and must not fill the cache of those that were seen."""
_UNSET = frozenset(("", "null", "undefined", "none", "nan", "0", "-", "n/a", "na", "unknown", "(not set)"))

_JUNK = (
    *_UNSET,
    *(word.upper() for word in _UNSET),
    *(word.capitalize() for word in _UNSET),
    *("NaN", " ", "  ", "test", "email", "phone", "false", "true", "[object Object]"),
    *("test@test.com", "test@example.com", "example@example.com", "email@example.com", "user@example.com"),
    *("a@a.com", "noemail@noemail.com", "none@none.com", "null@null.com"),
    *("+", "+1", "+0", "+10000000000", "+11111111111", "0000000000", "+15555555555"),
)
JUNK_DIGESTS = frozenset(sha256(text.encode()).hexdigest() for text in _JUNK)
"""Digests of what stands for nobody."""

_PRIVATE_NETWORKS = sorted(
    (network.version, int(network.network_address), int(network.broadcast_address))
    for network in map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/127", "fc00::/7", "fe80::/10", "ff00::/8"),
        ),
    )
)
"""Addresses that say nothing about who is behind them, as (IP version, first, last); documentation's are let by."""


class Matchable(msgspec.Struct, gc=False, frozen=True):
    """What one event can be matched by.

    Attributes:
        keys: Its match keys, KEY_BYTES each, one after the other.
        quality: 1 - Π(1 - prior) over the usable identifiers; see ``ingest.quality``.
    """

    keys: bytes
    quality: float


UNMATCHABLE = Matchable(b"", 0.0)
"""An event without user_match."""


class IdentifierHasher:
    """Turns identifiers into match keys, with one install's secret (32 bytes)."""

    def __init__(self, secret: bytes) -> None:
        # Keyed once and copied for each identifier: half the cost of keying anew.
        self._keyed = {
            kind: (bytes([kind]), blake2b(name.encode() + b"\0", key=secret, digest_size=KEY_BYTES - 1))
            for kind, name in KINDS.items()
        }

    def match(self, user_match: UserMatch, notes: list[str]) -> Matchable:
        """The match keys of one person; appends a warning's code to ``notes`` for each thing that was odd.

        Raises:
            Rejection: An identifier in the clear, one that is no digest where a digest belongs, or none that is usable.
        """
        keys: list[bytes] = []
        missed = 1.0
        for kind, value in _checked(user_match, notes):
            if not value:
                continue
            first, keyed = self._keyed[kind]
            hasher = keyed.copy()
            hasher.update(value.encode())
            key = first + hasher.digest()
            if key not in keys:
                keys.append(key)
                missed *= _CHANCE_TO_MISS[kind]
        if not keys:
            raise Rejection(
                "MISSING_USER_MATCH",
                "user_match holds no usable identifier. Send at least one of uids, hashed_email, hashed_phone, "
                "click_id, or client_ip with client_user_agent.",
                "user_match",
            )
        return Matchable(b"".join(keys), 1.0 - missed)

    def keys_of(self, kind: int, values: Sequence[str | None]) -> list[bytes]:
        """The match key of each value, which has to be normalised; empty for None.

        Args:
            kind: A number of KINDS, the same for all.
            values: As ``match`` would have normalised them.
        """
        first, keyed = self._keyed[kind]
        keys: list[bytes] = []
        for value in values:
            if value is None:
                keys.append(b"")
                continue
            hasher = keyed.copy()
            hasher.update(value.encode())
            keys.append(first + hasher.digest())
        return keys


def _checked(user_match: UserMatch, notes: list[str]) -> list[tuple[int, str | None]]:
    """Each identifier as (kind, normalised value), strongest first; None stands for one that was dropped."""
    checked: list[tuple[int, str | None]] = []
    if user_match.hashed_email is not None:
        checked.append((_EMAIL, _digest(user_match.hashed_email, "user_match.hashed_email", notes)))
    if user_match.hashed_phone is not None:
        checked.append((_PHONE, _digest(user_match.hashed_phone, "user_match.hashed_phone", notes)))
    for number, uid in enumerate(user_match.uids or ()):
        checked.append(_uid(uid.type, uid.value, f"user_match.uids[{number}]", notes))
    if user_match.click_id is not None:
        checked.append((_CLICK_ID, _opaque(user_match.click_id, "user_match.click_id", notes)))
    if user_match.client_ip is not None or user_match.client_user_agent is not None:
        checked.append((_IP_UA, _ip_and_user_agent(user_match.client_ip, user_match.client_user_agent, notes)))
    return checked


def _digest(value: str, field: str, notes: list[str]) -> str | None:
    """A lower-case SHA-256 in hex; None when it is a digest that can't identify anybody."""
    repaired = not _SHA256.match(value)
    digest = _PREFIX.sub("", value.strip(), count=1).lower() if repaired else value
    if digest in JUNK_DIGESTS or digest in _UNSET:
        notes.append("JUNK_IDENTIFIER")
        return None
    if repaired and _OTHER_DIGEST.match(digest):
        notes.append("UNSUPPORTED_HASH")
        return None
    if repaired and not _SHA256.match(digest):
        raise _not_a_digest(value, field)
    if repaired:
        notes.append("REPAIRED_IDENTIFIER")
    if looks_typed(digest):
        notes.append("LOW_ENTROPY_IDENTIFIER")
    return digest


def looks_typed(digest: str) -> bool:
    """Whether a digest of 64 characters was typed, not hashed: its 33rd stands there four times on average, not 24."""
    return digest.count(digest[32]) > 24


def _not_a_digest(value: str, field: str) -> Rejection:
    subject = "an e-mail address" if "@" in value else "a phone number" if "phone" in field else None
    clear = is_email(value) or is_phone(value) or (subject and re.fullmatch(r"[\d\s()+.-]{7,}", value.strip()))
    what = f"{subject} in the clear" if clear and subject else "not a SHA-256 digest of 64 hexadecimal characters"
    how = (
        "Hash the E.164 number, as +12065551234, with SHA-256 before you send it"
        if field.endswith("phone")
        else "Hash the trimmed, lower-case address with SHA-256 before you send it"
    )
    return Rejection("INVALID_REQUEST", f"{field} is {what}. {how}; the value was not kept.", field)


def _uid(uid_type: str, value: str, field: str, notes: list[str]) -> tuple[int, str | None]:
    kind = _UID_KINDS.get(uid_type)
    if kind is None:
        raise Rejection(
            "INVALID_REQUEST",
            f"{field}.type is none of AdCP's universal ID types: {', '.join(UID_TYPES)}.",
            f"{field}.type",
        )
    if kind == _EMAIL:
        return kind, _digest(value, f"{field}.value", notes)
    usable = _opaque(value, f"{field}.value", notes)
    if uid_type == "maid" and usable:
        usable = usable.lower()
        # All zeros is what a phone answers whose owner has opted out of tracking.
        if not usable.strip("0-"):
            notes.append("JUNK_IDENTIFIER")
            return kind, None
    return kind, usable


def _opaque(value: str, field: str, notes: list[str]) -> str | None:
    """A click id or universal ID: any text but an unset one, a macro that nobody filled in, or personal data."""
    if _PLAIN.match(value):
        return value
    trimmed = value.strip()
    if is_email(trimmed) or is_phone(trimmed):
        raise Rejection(
            "INVALID_REQUEST",
            f"{field} is an e-mail address or phone number in the clear. Send an identifier, or a hash in "
            "hashed_email or hashed_phone; the value was not kept.",
            field,
        )
    if _MACRO.search(trimmed):
        notes.append("UNEXPANDED_MACRO")
        return None
    if trimmed.lower() in _UNSET:
        notes.append("JUNK_IDENTIFIER")
        return None
    if trimmed != value:
        notes.append("REPAIRED_IDENTIFIER")
    return trimmed


def _ip_and_user_agent(ip: str | None, user_agent: str | None, notes: list[str]) -> str | None:
    user_agent = user_agent.strip() if user_agent else None
    if not ip or not user_agent:
        notes.append("INCOMPLETE_IP_MATCH")
        return None
    ip = ip.strip()
    normalised, problem = _public_ip(ip) if len(ip) <= _MAX_IP_LENGTH else ("", "INVALID_CLIENT_IP")
    if problem:
        notes.append(problem)
        return None
    return f"{normalised}\0{user_agent}"


@lru_cache(maxsize=65_536)
def _public_ip(ip: str) -> tuple[str, str | None]:
    """An address in its shortest form, and the code of what is wrong with it."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return "", "INVALID_CLIENT_IP"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    number = int(address)
    nearest = bisect_right(_PRIVATE_NETWORKS, (address.version, number, number)) - 1
    for version, first, last in _PRIVATE_NETWORKS[max(nearest, 0) : nearest + 2]:
        if version == address.version and first <= number <= last:
            return "", "PRIVATE_IP"
    return address.compressed, None
