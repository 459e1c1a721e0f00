"""The identifiers of several persons, one kind after the other: checked, and repaired where nothing is lost.

No value reaches a message, a log line or a file. Rules: docs/reference/identifiers.md; shapes:
core/user-match.json.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from postback.events.event import Uid, UserMatch
from postback.events.identifier_kinds import CLICK_ID, EMAIL, IP_AND_USER_AGENT, PHONE, UID_KINDS
from postback.events.ip_addresses import MAX_ADDRESS, are_public_ipv4, first_public_address, single_address
from postback.events.junk_digests import JUNK_DIGESTS
from postback.events.personal_data import is_email, is_phone
from postback.events.rejection import Rejection
from postback.protocol.characters import is_slug
from postback.protocol.enums import UID_TYPES
from postback.protocol.placeholders import JUNK_IN_IDENTIFIERS, is_junk_word, is_macro

__all__ = ["IdentifierColumns", "any_looks_typed", "checked_identifiers", "looks_typed"]

_SHA256_LENGTH = 64
_TYPED = 24
_LENGTHS = frozenset((_SHA256_LENGTH,))
_HEX = b"0123456789abcdef"
_OTHER_DIGEST = re.compile(r"(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{96}|[0-9a-f]{128})\Z")
_PREFIX = re.compile(r"\A(?:0x|sha-?256[:=-])", re.IGNORECASE)
_PLAIN_LENGTH = 16
_NEVER_FIRST = frozenset("-_")
_PLAIN = re.compile(r"(?!fb\.|GCL\.|0000|(?i:unde|null|none))[A-Za-z0-9][A-Za-z0-9._~/*-]{15,}={0,2}\Z")
"""Most click ids and universal IDs: nothing in them can be a macro, an unset word or personal data."""
_SUSPECT = frozenset(
    ("0000", *(case(word) for word in ("unde", "null", "none") for case in (str, str.upper, str.title)))
)
"""How zeros and words that mean no value begin, also those that are repeated."""
_WRAPPER = re.compile(
    r"(?:(?:fb\.\d*\.[^.]*|GCL\.[^.]*)(?:\.|\Z)|[a-z_]{0,16}(?:clid|braid|click_?id|uid2?)[=:])(?P<wrapped>.*)",
    re.IGNORECASE,
)
"""What browsers' cookies and URLs put around a click id."""

_Pair: TypeAlias = tuple[str | None, str | None]
_NO_PAIR: _Pair = (None, None)

_Sent = TypeVar("_Sent")
_Checked = TypeVar("_Checked")


class IdentifierColumns:
    """The identifiers of several persons, checked and normalized; None for one that is absent or was dropped.

    Where a whole column is plainly right, it is what was sent; else each of its values is checked alone.

    Attributes:
        rejections: The first Rejection of each row that has one.
        has_uids: Whether a row has universal IDs.
    """

    def __init__(self, persons: Sequence[UserMatch], warnings: Sequence[list[str]]) -> None:
        self._persons = persons
        self._warnings = warnings
        self.rejections: dict[int, Rejection] = {}
        self.has_uids = any(person.uids for person in persons)

    def kinds(self) -> Iterator[tuple[int | None, Sequence[Any]]]:
        """The values of each row for one kind of identifier after the other, strongest first.

        Only kinds that a row has. Universal IDs have no kind, and several of each row: lists of kind and value.
        """
        persons = self._persons
        if emails := _given([person.hashed_email for person in persons]):
            yield EMAIL, self._digests("hashed_email", emails)
        if phones := _given([person.hashed_phone for person in persons]):
            yield PHONE, self._digests("hashed_phone", phones)
        if self.has_uids:
            yield None, self._each([person.uids for person in persons], _uids)
        if click_ids := _given([person.click_id for person in persons]):
            yield CLICK_ID, self._click_ids(click_ids)
        pairs = [(person.client_ip, person.client_user_agent) for person in persons]
        if pairs.count(_NO_PAIR) < len(pairs):
            yield IP_AND_USER_AGENT, self._addresses(pairs)

    def _digests(self, name: str, values: Sequence[str | None]) -> Sequence[str | None]:
        if _are_plain_digests([value for value in values if value is not None]):
            return values
        return self._each(values, lambda value, warnings: _digest(value, name, name, warnings))

    def _click_ids(self, values: Sequence[str | None]) -> Sequence[str | None]:
        if _are_plain_identifiers([value for value in values if value is not None]):
            return values
        return self._each(values, lambda value, warnings: _opaque(value, "click_id", "click_id", warnings))

    def _addresses(self, pairs: Sequence[_Pair]) -> Sequence[str | None]:
        """The IP address and the user agent of each row together."""
        if _are_plain_pairs(pairs):
            return [f"{ip}\0{user_agent}" for ip, user_agent in pairs]
        return self._each([None if pair == _NO_PAIR else pair for pair in pairs], _ip_and_user_agent)

    def _each(
        self, values: Sequence[_Sent | None], check: Callable[[_Sent, list[str]], _Checked | None]
    ) -> list[_Checked | None]:
        checked: list[_Checked | None] = [None] * len(values)
        for row, value in enumerate(values):
            if value is not None:
                try:
                    checked[row] = check(value, self._warnings[row])
                except Rejection as rejection:
                    self.rejections.setdefault(row, rejection)
        return checked


def _given(values: Sequence[_Sent | None]) -> Sequence[_Sent | None]:
    """A column, or nothing if no row has a value."""
    return values if values.count(None) < len(values) else ()


def checked_identifiers(person: UserMatch, warnings: list[str]) -> list[tuple[int, str | None]]:
    """The same for one person: kind and value of each identifier, strongest first.

    Raises:
        Rejection: The first that there is.
    """
    checked: list[tuple[int, str | None]] = []
    if person.hashed_email is not None:
        checked.append((EMAIL, _digest(person.hashed_email, "hashed_email", "hashed_email", warnings)))
    if person.hashed_phone is not None:
        checked.append((PHONE, _digest(person.hashed_phone, "hashed_phone", "hashed_phone", warnings)))
    if person.uids:
        checked += _uids(person.uids, warnings)
    if person.click_id is not None:
        checked.append((CLICK_ID, _opaque(person.click_id, "click_id", "click_id", warnings)))
    if (pair := (person.client_ip, person.client_user_agent)) != _NO_PAIR:
        checked.append((IP_AND_USER_AGENT, _ip_and_user_agent(pair, warnings)))
    return checked


def _digest(value: str, name: str, path: str, warnings: list[str]) -> str | None:
    """A lower-case SHA-256 in hex; None for a digest that can't identify a person.

    Args:
        value: The identifier.
        name: What warnings call it.
        path: Where it is in user_match.
        warnings: Collects warnings.
    """
    if _are_plain_digests((value,)):
        return value
    repaired = not _are_sha256((value,))
    digest = _PREFIX.sub("", value.strip(), count=1).lower() if repaired else value
    if digest in JUNK_DIGESTS:
        warnings.append(f"JUNK_IDENTIFIER {name}")
        return None
    if repaired and not _are_sha256((digest,)):
        problem = "UNSUPPORTED_HASH" if _OTHER_DIGEST.match(digest) else _unset(digest)
        if not problem:
            raise _not_a_digest(value, f"user_match.{path}")
        warnings.append(f"{problem} {name}")
        return None
    if repaired:
        warnings.append(f"REPAIRED_IDENTIFIER {name}")
    if looks_typed(digest):
        warnings.append(f"LOW_ENTROPY_IDENTIFIER {name}")
    return digest


def _are_plain_digests(values: Collection[str]) -> bool:
    """Whether each is a SHA-256 in lower-case hex about which there is nothing to say."""
    return _are_sha256(values) and JUNK_DIGESTS.isdisjoint(values) and not any_looks_typed(values)


def _are_sha256(values: Collection[str]) -> bool:
    # A third of the time of a regular expression.
    return _LENGTHS.issuperset(map(len, values)) and not "".join(values).encode().translate(None, _HEX)


def _unset(value: str) -> str | None:
    """The code of a warning about a value that a template left unfilled; None for any other."""
    if (
        is_junk_word(value)
        or value.lower() in JUNK_IN_IDENTIFIERS
        or (len(value) <= _SHA256_LENGTH and not value.strip("0-."))
    ):
        return "JUNK_IDENTIFIER"
    return "UNEXPANDED_MACRO" if is_macro(value) else None


def looks_typed(digest: str) -> bool:
    """Whether a digest looks typed, not hashed: in a real one, its 33rd character occurs four times on average."""
    return any_looks_typed((digest,))


def any_looks_typed(digests: Iterable[str]) -> bool:
    """Whether one of several digests looks typed."""
    return any([digest.count(digest[32]) > _TYPED for digest in digests])  # noqa: C419 - a list is twice as fast


def _not_a_digest(value: str, field: str) -> Rejection:
    subject = "an e-mail address" if is_email(value) else "a phone number" if "phone" in field else None
    unhashed = is_email(value) or is_phone(value) or (subject and re.fullmatch(r"[\d\s()+.-]{7,}", value.strip()))
    what = f"{subject} that is not hashed" if unhashed and subject else "not a SHA-256 digest of 64 hexadecimal digits"
    how = (
        "Hash the E.164 number, for example +12065551234, with SHA-256 before you send it."
        if "phone" in field
        else "Hash the trimmed, lower-case address with SHA-256 before you send it."
    )
    return Rejection("INVALID_REQUEST", f"{field} is {what}. {how} The value was not stored.", field)


def _uids(uids: Sequence[Uid], warnings: list[str]) -> list[tuple[int, str | None]]:
    return [_uid(uid.type, uid.value, f"uids[{number}]", warnings) for number, uid in enumerate(uids)]


def _uid(uid_type: str, value: str, path: str, warnings: list[str]) -> tuple[int, str | None]:
    kind = UID_KINDS.get(uid_type)
    if kind is None:
        raise Rejection(
            "INVALID_REQUEST",
            f"user_match.{path}.type must be one of {', '.join(UID_TYPES)}.",
            f"user_match.{path}.type",
        )
    if kind == EMAIL:
        return kind, _digest(value, "uids", f"{path}.value", warnings)
    usable = _opaque(value, "uids", f"{path}.value", warnings)
    if uid_type == "maid" and usable:
        usable = usable.lower()
        # A phone whose owner has opted out of tracking returns all zeros, an emulator another digit.
        if len(set(usable) - {"-"}) <= 1:
            warnings.append("JUNK_IDENTIFIER uids")
            return kind, None
    return kind, usable


def _opaque(value: str, name: str, path: str, warnings: list[str]) -> str | None:
    """A click id or universal ID: any text except a placeholder, an unexpanded macro or personal data."""
    if _are_plain_identifiers((value,)) or _PLAIN.match(value):
        return value
    trimmed = value.strip()
    if is_email(trimmed) or is_phone(trimmed):
        field = f"user_match.{path}"
        raise Rejection(
            "INVALID_REQUEST",
            f"{field} is an unhashed e-mail address or phone number. Send an identifier here, or the hash in "
            "hashed_email or hashed_phone. The value was not stored.",
            field,
        )
    wrapped = _WRAPPER.fullmatch(trimmed)
    if problem := _unset(trimmed) or (wrapped and _unset(wrapped["wrapped"])):
        warnings.append(f"{problem} {name}")
        return None
    if trimmed != value:
        warnings.append(f"REPAIRED_IDENTIFIER {name}")
    return trimmed


def _are_plain_identifiers(values: Collection[str]) -> bool:
    """Whether click ids or universal IDs are usual: long, of letters, digits, hyphens and underscores."""
    starts = {value[:4] for value in values}
    return (
        min(map(len, values), default=_PLAIN_LENGTH) >= _PLAIN_LENGTH
        and is_slug("".join(values))
        and _SUSPECT.isdisjoint(starts)
        and _NEVER_FIRST.isdisjoint([start[0] for start in starts])
    )


def _are_plain_pairs(pairs: Collection[_Pair]) -> bool:
    """Whether each is a public IPv4 address with a browser's user agent."""
    return all(
        user_agent and user_agent.startswith("Mozilla/") and user_agent.strip() == user_agent
        for user_agent in {user_agent for _, user_agent in pairs}
    ) and are_public_ipv4([ip or "" for ip, _ in pairs])


def _joined(pair: _Pair) -> str:
    return f"{pair[0]}\0{pair[1]}"


def _ip_and_user_agent(pair: _Pair, warnings: list[str]) -> str | None:
    ip, user_agent = pair
    if ip and user_agent and len(ip) <= MAX_ADDRESS and user_agent.startswith("Mozilla/"):
        address, problem = single_address(ip)
        if not problem:
            return _joined((address, user_agent.strip()))
    ip, user_agent = (ip or "").strip(), (user_agent or "").strip()
    if not (ip and user_agent):
        warnings.append(f"INCOMPLETE_IP_MATCH {'client_ip' if ip else 'client_user_agent'}")
        return None
    address = _address(ip, warnings)
    return _joined((address, user_agent)) if _is_user_agent(user_agent, warnings) and address else None


def _address(ip: str, warnings: list[str]) -> str:
    """A public address in its shortest form; empty without one."""
    address, problem = single_address(ip) if len(ip) <= MAX_ADDRESS else ("", "INVALID_CLIENT_IP")
    if problem == "INVALID_CLIENT_IP":
        address, problem = first_public_address(ip)
        if not problem:
            warnings.append("REPAIRED_IDENTIFIER client_ip")
    if problem:
        problem = (_unset(ip) or problem) if problem == "INVALID_CLIENT_IP" else problem
        warnings.append(f"{problem} client_ip")
    return address


def _is_user_agent(user_agent: str, warnings: list[str]) -> bool:
    if user_agent.startswith("Mozilla/"):
        return True
    problem = _unset(user_agent)
    if problem:
        warnings.append(f"{problem} client_user_agent")
    return not problem
