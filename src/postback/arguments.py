"""A task's arguments: one JSON object, taken apart into what every task shares and what is the task's own."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from copy import copy
from hashlib import sha256
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from postback.errors import BodyTooLarge, InvalidRequest
from postback.ingest.decode import canonical_json, diagnose, spell_out_half_pairs
from postback.ingest.event import NO_JSON
from postback.ingest.rejection import Rejection
from postback.shapes import choices, departure

__all__ = ["Arguments", "pin_of"]

_T = TypeVar("_T", bound=msgspec.Struct)

_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_.:-]{16,255}\Z")
_NOT_FINGERPRINTED = frozenset(("idempotency_key", "context", "context_id", "governance_context"))
"""What AdCP keeps out of the comparison of two calls, and ``context_id``."""

_MAX_CONTEXT_BYTES = 65_536
_MAX_BYTES_BESIDE_EVENTS = 4_000_000
"""Bound on all but ``events``, which alone are read piece by piece: parsed, JSON takes up to 30 times the memory."""

_MAX_DEPTH = 64
"""How deep a member may nest: what writes answers, and what reads them, follows not much further."""

_MEMBER_NAME = re.compile(r"[a-z_]{1,64}\Z")


class _Pin(msgspec.Struct):
    adcp_version: Any = None
    adcp_major_version: Any = None


def pin_of(body: bytes) -> tuple[Any, Any]:
    """``adcp_version`` and ``adcp_major_version`` of a body of which nothing else may be readable, or None."""
    try:
        pin = msgspec.json.decode(body, type=_Pin)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    return pin.adcp_version, pin.adcp_major_version


class Arguments:
    """The members of a call's JSON object, each still raw.

    Raises:
        InvalidRequest: Not UTF-8, not JSON, not an object, or an object that gives the same name twice.
        BodyTooLarge: Its members beside ``events`` are too large.
    """

    def __init__(self, body: bytes) -> None:
        self.members = _members(body)

    def context(self) -> object:
        """The caller's correlation object, echoed unchanged; None when absent."""
        context = self.value("context")
        if context is None:
            return None
        if not isinstance(context, dict) or memoryview(self.members["context"]).nbytes > _MAX_CONTEXT_BYTES:
            raise InvalidRequest(f"context must be an object of at most {_MAX_CONTEXT_BYTES:,} bytes.", field="context")
        return context

    def idempotency_key(self) -> str | None:
        """The key under which a retry gets the same answer; None when absent.

        Raises:
            InvalidRequest: Not of the schema's form.
        """
        key = self.value("idempotency_key")
        if key is None:
            return None
        if not isinstance(key, str) or not _IDEMPOTENCY_KEY.match(key):
            raise InvalidRequest(
                "idempotency_key must be 16 to 255 characters of A-Z, a-z, 0-9 and _ . : - (a UUID is fine).",
                field="idempotency_key",
                suggestion="Send a fresh UUID for each new call, and the same one for each retry.",
            )
        return key

    def value(self, name: str) -> Any:
        """One member, parsed; None when absent or null.

        Raises:
            InvalidRequest: It can't be parsed.
        """
        raw = self.members.get(name)
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidRequest(
                f"{name} holds a number or string that JSON can't carry, or nests too deep.", field=name
            ) from None

    def replaced(self, **values: object) -> Arguments:
        """The same arguments, but for these members."""
        other = copy(self)
        other.members = self.members | {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items()}
        return other

    def to(self, shape: type[_T]) -> _T:
        """The task's own arguments as a struct; members that it doesn't know are passed over, nulls are absent.

        Raises:
            InvalidRequest: A member is missing or of the wrong type; names its path.
        """
        typed = {}
        for field in msgspec.structs.fields(shape):
            raw = self.members.get(field.encode_name)
            if raw is None or _is_null(raw):
                if field.required:
                    raise InvalidRequest(f"{field.encode_name} is required.", field=field.encode_name)
                continue
            typed[field.name] = raw if field.type is msgspec.Raw else _typed(raw, field.type, field.encode_name)
        return shape(**typed)

    def fingerprint(self, instead_of: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
        """A digest of what the call asks for: two calls have the same when RFC 8785 writes them alike.

        The members that AdCP excepts don't count, nor do the credentials of a webhook, which are replaced in time.

        Args:
            instead_of: Members → digests that stand for them. That of ``events`` tells less: what is dropped unread,
                as an identifier that nobody knows, isn't kept in any form.
        """
        digest = sha256()
        for name in sorted(self.members):
            if name not in _NOT_FINGERPRINTED:
                said = instead_of.get(name) or sha256(canonical_json(self._compared(name))).digest()
                digest.update(name.encode() + b"\0" + said)
        return digest.digest()

    def _compared(self, name: str) -> bytes | msgspec.Raw:
        """A member as two calls are compared by it."""
        webhook = self.value(name) if name == "push_notification_config" else None
        if not isinstance(webhook, dict) or not isinstance(webhook.get("authentication"), dict):
            return self.members[name]
        webhook["authentication"].pop("credentials", None)
        return msgspec.json.encode(webhook)


def _typed(raw: msgspec.Raw, shape: Any, name: str) -> Any:
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), name, shape) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest(
            f"{name} holds a string or number that JSON can't carry, or nests too deep.", field=name
        ) from None


def _is_null(raw: msgspec.Raw) -> bool:
    return memoryview(raw).nbytes == 4 and bytes(raw) == b"null"


def _members(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        str(body, "utf-8", "surrogatepass")
        body, arrays = _parted(body)
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8 (byte {error.start}).") from None
    except msgspec.ValidationError:
        raise InvalidRequest("The body must be a JSON object that holds the task's arguments.") from None
    except msgspec.DecodeError as error:
        where = str(error).removeprefix("JSON is malformed: ")
        raise InvalidRequest(
            f"The body is not JSON: {where}.", suggestion="NaN, Infinity and trailing commas are not JSON."
        ) from None
    except RecursionError:
        raise InvalidRequest("The body nests too deep.") from None
    _refuse_duplicates(body)
    for name, raw in members.items():
        # Each entry of event_sources is judged alone, as each member of the large arrays is.
        if name != "event_sources":
            _refuse_ambiguous(name, bytes(raw))
    return members | arrays


_HEAD_BYTES = 64
"""As much of an array as is searched for; searching for megabytes would take longer than parsing them."""


class _Large(msgspec.Struct):
    """The arrays that may be megabytes, whose members are judged one by one."""

    events: msgspec.Raw = NO_JSON
    exposures: msgspec.Raw = NO_JSON
    totals: msgspec.Raw = NO_JSON


def _parted(body: bytes) -> tuple[bytes, dict[str, msgspec.Raw]]:
    """The body without its large arrays, and these."""
    try:
        large = msgspec.structs.asdict(msgspec.json.decode(body, type=_Large))
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        spelled_out = spell_out_half_pairs(body)
        if spelled_out == body:
            raise
        return _parted(spelled_out)
    arrays = {name: array for name, array in large.items() if array}
    beside = len(body) - sum(memoryview(array).nbytes for array in arrays.values())
    if beside > _MAX_BYTES_BESIDE_EVENTS:
        raise BodyTooLarge(
            f"The arguments beside events are larger than {_MAX_BYTES_BESIDE_EVENTS:,} bytes.",
            suggestion="Send less in context and ext; split event_sources into several calls without delete_missing.",
        )
    for array in arrays.values():
        body = _without(array, body)
    return body, arrays


def _without(raw: msgspec.Raw, body: bytes) -> bytes:
    """The body with null instead of a large array that is a part of it."""
    array = memoryview(raw)
    length = array.nbytes
    head = bytes(array[:_HEAD_BYTES])
    start = body.find(head)
    while not body.startswith(array, start):  # something else begins alike
        start = body.find(head, start + 1)
    return body[:start] + b"null" + body[start + length :]


def _refuse_duplicates(body: bytes) -> None:
    """Refuse a body whose top-level object gives a name twice: one of the two is lost on the way into a dict."""

    try:
        pairs = json.loads(body, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise InvalidRequest("The body holds a number that JSON can't carry, or nests too deep.") from None
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        # A name of another form may be a value that went astray, and isn't repeated.
        field = twice[0] if _MEMBER_NAME.match(twice[0]) else None
        raise InvalidRequest("The body gives the same name twice; send each name once.", field=field)


def _refuse_ambiguous(name: str, text: bytes) -> None:
    """Refuse a member that gives a name twice, at whatever depth, holds what JSON can't carry, or nests too deep."""
    field = name if _MEMBER_NAME.match(name) else None
    try:
        tree = diagnose(text)
    except Rejection as rejection:
        raise InvalidRequest(rejection.message.replace("The event", "The member"), field=field) from None
    # Only what has so many brackets can be so deep.
    if text.count(b"[") + text.count(b"{") > _MAX_DEPTH and _deeper(tree, _MAX_DEPTH):
        raise InvalidRequest(f"The member nests deeper than {_MAX_DEPTH} levels.", field=field)


def _deeper(tree: Any, levels: int) -> bool:
    members = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else None
    return members is not None and (levels == 0 or any(_deeper(member, levels - 1) for member in members))


def _invalid(problem: str, name: str, shape: Any) -> InvalidRequest:
    """msgspec's sentence about one member, which holds no value, in our words."""
    path, sentence = departure(problem)
    if listed := choices(shape, path):
        sentence = f"is not one of {', '.join(listed)}"
    field = f"{name}{path}"
    if sentence == "is required":
        return InvalidRequest(f"{field} is required.", field=field.rpartition(".")[0])
    return InvalidRequest(f"{field} {'' if sentence.startswith('is ') else 'is wrong: '}{sentence}.", field=field)
