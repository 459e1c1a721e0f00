"""What was received lately, in memory: whether an event or exposure is known, without asking the store."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Claim", "RecentIdentities", "hashes_of"]

_WAYS = 4
_FEW = 16
"""Up to so many items are looked up one by one: for a single one numpy takes ten times as long."""


class Claim(NamedTuple):
    """What is known of the items of a call: lists or arrays of numpy.

    Attributes:
        hashes: Hashes of their identities.
        in_call: Of each item whether an earlier one of the call has the same identity.
        marks: Of each item 0 if its identity is new, 1 if it is known or ``in_call``, and 2 if its digest, too, is not
            that of the first with this identity.
    """

    hashes: Any
    in_call: Any
    marks: Any


class RecentIdentities:
    """The identities that were received last, each with a digest of the first that had it. Not thread-safe.

    A hash table of fixed size: 12 bytes an identity, in sets of four that are looked up together. A full set drops one
    of its four. Memory is taken as it fills.

    Args:
        complete: Whether nothing was received before.
        size: Most identities; a power of two.
    """

    def __init__(self, *, complete: bool, size: int = 2**20) -> None:
        self._tags: Any = np.zeros((size // _WAYS, _WAYS), np.int64)
        self._digests: Any = np.zeros((size // _WAYS, _WAYS), np.uint32)
        self._one_tag, self._one_digest = self._tags.reshape(-1).data, self._digests.reshape(-1).data
        self._last_set = size // _WAYS - 1
        self._complete = complete

    @property
    def complete(self) -> bool:
        """Whether it knows everything that was ever received."""
        return self._complete

    def claim(self, hashes: Any, digests: Any) -> Claim:
        """Look the items of a call up, and record those that are new.

        Args:
            hashes: Of their identities, as ``hashes_of`` makes them.
            digests: 32-bit digests of what they say.
        """
        return (self._claim_few if len(hashes) <= _FEW else self._claim_many)(hashes, digests)

    def release(self, claim: Claim) -> None:
        """Forget what a claim recorded: the items were not stored."""
        for hashed, mark in zip(claim.hashes, claim.marks, strict=True):
            place = self._find(int(hashed)) if not mark else None
            if place is not None:
                self._one_tag[place] = 0
        self._complete = False  # a part of them may be stored nevertheless

    def _claim_few(self, hashes: Sequence[int], digests: Sequence[int]) -> Claim:
        in_call: list[bool] = []
        marks: list[int] = []
        earlier: set[int] = set()
        for hashed, digest in zip(hashes, digests, strict=True):
            place = self._find(hashed)
            if place is None:
                self._record_one(hashed, digest)
                marks.append(0)
            else:
                marks.append(1 if self._one_digest[place] == digest else 2)
            in_call.append(hashed in earlier)
            earlier.add(hashed)
        return Claim(hashes, in_call, marks)

    def _find(self, hashed: int) -> int | None:
        """The place of an identity, or None."""
        start = (hashed & self._last_set) * _WAYS
        for place in range(start, start + _WAYS):
            if self._one_tag[place] == hashed:
                return place
        return None

    def _record_one(self, hashed: int, digest: int) -> None:
        start = (hashed & self._last_set) * _WAYS
        empty = (place for place in range(start, start + _WAYS) if not self._one_tag[place])
        place = next(empty, None)
        if place is None:
            self._complete = False
            place = start + _dropped(hashed)
        self._one_tag[place], self._one_digest[place] = hashed, digest

    def _claim_many(self, sent_hashes: Any, sent_digests: Any) -> Claim:
        hashes, digests = np.asarray(sent_hashes, np.int64), np.asarray(sent_digests, np.uint32)
        firsts, whose, which = _firsts(hashes)
        known, first_digests = self._claim_different(hashes[firsts], digests[firsts])
        in_call = which != np.arange(len(hashes))
        duplicate = known[whose] | in_call
        return Claim(hashes, in_call, duplicate.astype(np.uint8) + (duplicate & (digests != first_digests[whose])))

    def _claim_different(self, hashes: Any, digests: Any) -> tuple[Any, Any]:
        """Of different identities: which were known, and the digest of the first."""
        sets = hashes & self._last_set
        found = self._tags[sets] == hashes[:, None]
        known = found.any(1)
        first_digests = digests.copy()
        first_digests[known] = self._digests[sets[known], found[known].argmax(1)]
        new = np.flatnonzero(~known)
        while len(new):
            new = new[self._record(sets[new], hashes[new], digests[new])]
        return known, first_digests

    def _record(self, sets: Any, hashes: Any, digests: Any) -> Any:
        """Record identities; returns which of them another one of the same call displaced."""
        empty = self._tags[sets] == 0
        room = empty.any(1)
        self._complete = self._complete and bool(room.all())
        ways = np.where(room, empty.argmax(1), _dropped(hashes))
        self._tags[sets, ways] = hashes
        self._digests[sets, ways] = digests
        return (self._tags[sets, ways] != hashes) & room


def hashes_of(ids: Collection[str], scopes: Collection[Hashable]) -> Any:
    """Hashes of identities.

    Args:
        ids: Of the items, in order.
        scopes: What each id is unique in; a single one is that of all.
    """
    shared = hash(next(iter(scopes))) if len(scopes) == 1 else None
    if len(ids) <= _FEW:
        of_scopes = map(hash, scopes) if shared is None else [shared] * len(ids)
        return [hash(id_) ^ scope for id_, scope in zip(ids, of_scopes, strict=True)]
    hashes = np.fromiter(map(hash, ids), np.int64, len(ids))
    return hashes ^ (np.fromiter(map(hash, scopes), np.int64, len(ids)) if shared is None else shared)


def _dropped(hashed: Any) -> Any:
    """Which of four identities a new one takes the place of."""
    return hashed >> 40 & _WAYS - 1


def _firsts(hashes: Any) -> tuple[Any, Any, Any]:
    """The places of the first of equal hashes; and for each hash which of these it belongs to, and that one's place."""
    everyone = np.arange(len(hashes))
    in_order = np.sort(hashes)
    if not (in_order[1:] == in_order[:-1]).any():
        return everyone, everyone, everyone
    _, firsts, whose = np.unique(hashes, return_index=True, return_inverse=True)
    return firsts, whose, firsts[whose]
