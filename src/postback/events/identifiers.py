"""Identifiers: checked, repaired where nothing is lost, turned into match keys, and forgotten.

A match key is 16 bytes: one byte that says the kind of identifier, then 15 bytes of BLAKE2b keyed with the
installation's secret over the kind and the normalized value. Events and exposures get theirs from the same function, so
equal identifiers meet; without the secret a key says nothing about the identifier. No value reaches a message, a log
line or a file.

Rules: docs/reference/identifiers.md; shapes: core/user-match.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from postback.events.event import UserMatch
from postback.events.identifier_columns import IdentifierColumns, checked_identifiers
from postback.events.identifier_kinds import KINDS
from postback.events.rejection import Rejection
from postback.events.warnings import dropped_identifiers

__all__ = ["FEW", "KEY_BYTES", "KINDS", "IdentifierHasher"]

KEY_BYTES = 16

FEW = 4
"""Up to so many events, a look at each is cheaper than one at their columns."""


class IdentifierHasher:
    """Turns identifiers into match keys, with one installation's secret (32 bytes)."""

    def __init__(self, secret: bytes) -> None:
        # Keyed once and copied for each identifier: half the cost of keying anew.
        self._keyed = {
            kind: (bytes([kind]), blake2b(name.encode() + b"\0", key=secret, digest_size=KEY_BYTES - 1).copy)
            for kind, name in KINDS.items()
        }

    def match(self, user_match: UserMatch, warnings: list[str], *, required: bool = True) -> bytes:
        """The match keys of one person, KEY_BYTES each, one after the other, the strongest first.

        A warning is appended to ``warnings`` for each thing that was odd.

        Raises:
            Rejection: An identifier is unhashed or not a digest where one is required; or none is usable, and one is
                required.
        """
        keys = self._match_alone(user_match, warnings, required)
        if isinstance(keys, Rejection):
            raise keys
        return keys

    def match_each(
        self, persons: Sequence[UserMatch], warnings: Sequence[list[str]], required: Sequence[bool]
    ) -> Sequence[bytes | Rejection]:
        """The same for several persons, each with warnings of their own; what ``match`` raises is returned."""
        if len(persons) <= FEW:
            return list(map(self._match_alone, persons, warnings, required))
        columns = IdentifierColumns(persons, warnings)
        hashed = [self._hashed(kind, values) for kind, values in columns.kinds()]
        keys = [b"".join(parts) for parts in zip(*hashed, strict=True)] or [b""] * len(persons)
        if columns.has_uids:
            keys = list(map(_each_once, keys))
        if not columns.rejections and all(keys):
            return keys
        return [
            columns.rejections.get(row) or _usable(*of_row)
            for row, of_row in enumerate(zip(keys, warnings, required, strict=True))
        ]

    def _match_alone(self, person: UserMatch, warnings: list[str], required: bool) -> bytes | Rejection:
        keys: list[bytes] = []
        try:
            for kind, value in checked_identifiers(person, warnings):
                if value is not None:
                    keys += self.keys_of(kind, (value,))
        except Rejection as rejection:
            return rejection
        return _usable(b"".join(dict.fromkeys(keys)), warnings, required)

    def _hashed(self, kind: int | None, values: Sequence[Any]) -> list[bytes]:
        """The keys of each row; without a kind, of several values with kinds of their own."""
        if kind is not None:
            return self.keys_of(kind, values)
        return [b"".join([self.keys_of(kind, (value,))[0] for kind, value in several or ()]) for several in values]

    def keys_of(self, kind: int, values: Sequence[str | None]) -> list[bytes]:
        """The match key of each normalized value; empty for None.

        Args:
            kind: A number of KINDS, the same for all.
            values: The values, normalized like those of ``match``.
        """
        first, copy = self._keyed[kind]
        keys: list[bytes] = []
        for value in values:
            if value is None:
                keys.append(b"")
                continue
            hasher = copy()
            hasher.update(value.encode())
            keys.append(first + hasher.digest())
        return keys


def _each_once(keys: bytes) -> bytes:
    return b"".join(dict.fromkeys([keys[start : start + KEY_BYTES] for start in range(0, len(keys), KEY_BYTES)]))


def _usable(keys: bytes, warnings: list[str], required: bool) -> bytes | Rejection:
    if keys or not required:
        return keys
    dropped = dropped_identifiers(warnings)
    return Rejection(
        "MISSING_USER_MATCH",
        f"user_match has no usable identifier{f': {dropped}' if dropped else ''}. Send at least one of uids, "
        "hashed_email, hashed_phone, click_id, or client_ip with client_user_agent.",
        "user_match",
    )
