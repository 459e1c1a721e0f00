"""Ids that repeat an identifier of the person: they are stored as sent, and identifiers never are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from postback.events.event import UserMatch
from postback.protocol.characters import decoded

__all__ = ["plainly_repeat_none", "plainly_repeats_identifier", "repeats_identifier", "repeats_one_of"]

_DIGEST_LENGTH = 64
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_PREFIX = re.compile(r"\A(?:0x|sha-?256[:=-])(?=[0-9a-f]{64}\Z)")


def repeats_identifier(name: str, user_match: UserMatch) -> bool:
    """Whether an id is one of the person's identifiers, also as that is repaired, or contains a digest of theirs."""
    ip = user_match.client_ip
    if "%" in name or "&" in name:
        others = (ip, user_match.client_user_agent, user_match.click_id)
        return repeats_one_of(name, others) or plainly_repeats_identifier(decoded(name), user_match)
    # What is not as long can't be the same, and needs no closer look.
    for other in (ip, user_match.client_user_agent):
        if other and len(other.strip()) == len(name) and repeats_one_of(name, (other,)):
            return True
    return plainly_repeats_identifier(name, user_match)


def plainly_repeat_none(names: Collection[str], persons: Collection[UserMatch | None]) -> bool:
    """Whether it is plain by their lengths that no plain id is an identifier of a person among several."""
    given = [person for person in persons if person]
    lengths = set(map(len, names))
    return (
        max(lengths, default=0) < _DIGEST_LENGTH
        and not any(person.uids for person in given)
        and lengths.isdisjoint([len(person.click_id.strip()) for person in given if person.click_id])
    )


def plainly_repeats_identifier(name: str, user_match: UserMatch) -> bool:
    """The same for a plain id, which is neither encoded nor an IP address nor a user agent."""
    length = len(name)
    if length >= _DIGEST_LENGTH and repeats_one_of(name, (user_match.hashed_email, user_match.hashed_phone)):
        return True
    click_id = user_match.click_id
    if click_id and len(click_id.strip()) == length and repeats_one_of(name, (click_id,)):
        return True
    return user_match.uids is not None and repeats_one_of(name, [uid.value for uid in user_match.uids])


def repeats_one_of(name: str, identifiers: Iterable[str | None]) -> bool:
    """The same for a list of identifiers."""
    folded = _folded(name)
    for identifier in identifiers:
        if (
            identifier
            and (other := _folded(identifier))
            and (other == folded or (_DIGEST.match(other) and other in folded))
        ):
            return True
    return False


def _folded(text: str) -> str:
    """An identifier without what is repaired: surrounding white space, upper case, a prefix, an encoding."""
    return _PREFIX.sub("", decoded(text).strip().lower())
