"""A task's arguments: one JSON object, taken apart into what every task shares and what is the task's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from functools import cache
from hashlib import sha256
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, TypeVar, get_origin

import msgspec

from postback.errors import BodyTooLarge, InvalidRequest
from postback.protocol.canonical_json import canonical_json, rfc8785_json
from postback.protocol.strict_json import (
    NO_JSON,
    UNREADABLE,
    InvalidJson,
    RepeatedName,
    TooLarge,
    TooManyValues,
    decode_typed,
    fields_of,
    parse_json,
    spell_out_half_pairs,
)
from postback.protocol.type_errors import allowed_values, describe_validation_error

__all__ = ["Arguments", "pin_of"]

_T = TypeVar("_T", bound=msgspec.Struct)

_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_.:-]{16,255}\Z")
_NOT_FINGERPRINTED = frozenset(("idempotency_key", "context", "context_id", "governance_context"))
"""What AdCP keeps out of the comparison of two calls, and ``context_id``."""

_MAX_CONTEXT_BYTES = 65_536
_BATCHES = ("events", "exposures", "totals")
"""Arrays that may be megabytes, whose items are validated one by one."""

_MAX_BYTES_BESIDE_BATCHES = 4_000_000
"""Bound on all other fields: they are parsed as a whole, and parsed, JSON takes up to 30 times the memory."""

_MAX_VALUES_BESIDE_BATCHES = 100_000
"""Bound on the values in all other fields, each of which is looked at several times."""

_MOST_BESIDE_BATCHES = _MAX_BYTES_BESIDE_BATCHES, _MAX_VALUES_BESIDE_BATCHES

_READ_BY_ITEM = frozenset((*_BATCHES, "event_sources"))
"""Arrays in which an item that can't be read costs no other."""

_MAX_DEPTH = 64
"""How deep a field may nest: what writes responses, and what reads them, follows not much further."""

_FIELD_NAME = re.compile(r"[a-z_]{1,64}\Z")


class _Pin(msgspec.Struct):
    adcp_version: msgspec.Raw = NO_JSON
    adcp_major_version: msgspec.Raw = NO_JSON


def pin_of(body: bytes) -> tuple[Any, Any]:
    """``adcp_version`` and ``adcp_major_version`` of a body of which nothing else may be readable, or None."""
    try:
        pin = msgspec.json.decode(body, type=_Pin)
        version, major = (decode_typed(raw, Any) if raw else None for raw in msgspec.structs.astuple(pin))
    except UNREADABLE:
        return None, None
    return version, major


class Arguments:
    """The fields of a call's JSON object, each still raw.

    Raises:
        InvalidRequest: Not UTF-8, not JSON, not an object, or an object that gives the same name twice.
        BodyTooLarge: Its fields beside a batch are too large, or have too many values.
    """

    def __init__(self, body: bytes) -> None:
        self.fields = _fields(body)

    def context(self) -> dict[str, Any] | None:
        """The caller's correlation object, echoed unchanged; None when absent."""
        raw = self.fields.get("context", NO_JSON)
        if not raw or _is_null(raw):
            return None
        context = msgspec.json.decode(raw)  # as it was sent: to others, 1.0 may not be 1
        if not isinstance(context, dict) or memoryview(raw).nbytes > _MAX_CONTEXT_BYTES:
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

    @property
    def sent(self) -> frozenset[str]:
        """The names of the fields whose value is not null."""
        return frozenset(name for name, raw in self.fields.items() if not _is_null(raw))

    def value(self, name: str) -> Any:
        """One field, parsed; None when absent or null.

        Raises:
            InvalidRequest: It can't be parsed.
        """
        raw = self.fields.get(name)
        if raw is None:
            return None
        try:
            return decode_typed(raw, Any)
        except UNREADABLE:
            raise _unreadable(name) from None

    def replaced(self, **values: object) -> Arguments:
        """The same arguments, but for these fields."""
        other = copy(self)
        other.fields = self.fields | {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items()}
        return other

    def to(self, shape: type[_T]) -> _T:
        """The task's own arguments as a struct; fields that it doesn't know are passed over, nulls are absent.

        Raises:
            InvalidRequest: A field is missing or of the wrong type; names its path.
        """
        typed = {}
        for field in _fields_of_struct(shape):
            raw = self.fields.get(field.sent_as)
            if raw is None or _is_null(raw):
                if field.required:
                    raise InvalidRequest(f"{field.sent_as} is required.", field=field.sent_as)
                continue
            typed[field.name] = raw if field.stays_raw else _typed(raw, field.type, field.sent_as)
        return shape(**typed)

    def fingerprint(self, instead_of: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
        """A digest of what the call asks for: two calls have the same when RFC 8785 writes them alike.

        The fields that AdCP excepts don't count, nor do the credentials of a webhook, which are replaced in time.

        Args:
            instead_of: Fields → digests that stand for them. That of ``events`` tells less: what is dropped unread,
                as an identifier that nobody knows, isn't kept in any form.
        """
        digest = sha256()
        for name in sorted(self.fields):
            if name not in _NOT_FINGERPRINTED:
                canonical = canonical_json if name in _READ_BY_ITEM else rfc8785_json
                compared = instead_of.get(name) or sha256(canonical(self._compared(name))).digest()
                digest.update(name.encode() + b"\0" + compared)
        return digest.digest()

    def _compared(self, name: str) -> bytes | msgspec.Raw:
        """A field as two calls are compared by it."""
        webhook = self.value(name) if name == "push_notification_config" else None
        if not isinstance(webhook, dict) or not isinstance(webhook.get("authentication"), dict):
            return self.fields[name]
        webhook["authentication"].pop("credentials", None)
        return msgspec.json.encode(webhook)


class _StructField(NamedTuple):
    name: str
    sent_as: str
    type: Any
    required: bool
    stays_raw: bool


@cache
def _fields_of_struct(shape: type[msgspec.Struct]) -> tuple[_StructField, ...]:
    """msgspec evaluates the annotations anew each time, and what those of a request compose is costly."""
    return tuple(
        _StructField(field.name, field.encode_name, field.type, field.required, _stays_raw(field.type))
        for field in msgspec.structs.fields(shape)
    )


def _typed(raw: msgspec.Raw, shape: Any, name: str) -> Any:
    try:
        return decode_typed(raw, shape)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), name, shape) from None
    except UNREADABLE:
        raise _unreadable(name) from None


def _unreadable(name: str) -> InvalidRequest:
    return InvalidRequest(f"{name} has a string or number that JSON can't represent, or nests too deep.", field=name)


def _stays_raw(shape: Any) -> bool:
    return shape is msgspec.Raw or (get_origin(shape) is Annotated and shape.__origin__ is msgspec.Raw)


def _is_null(raw: msgspec.Raw) -> bool:
    return memoryview(raw).nbytes == 4 and bytes(raw) == b"null"


def _fields(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        str(body, "utf-8", "surrogatepass")
        fields = _split(body)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8 (byte {error.start}).") from None
    except RepeatedName as error:
        # A name of another form may be a value that went astray, and isn't repeated.
        field = error.name if _FIELD_NAME.match(error.name) else None
        raise InvalidRequest("The body has the same field name twice. Send each field once.", field=field) from None
    except TooLarge:
        raise _too_large(f"are larger than {_MAX_BYTES_BESIDE_BATCHES:,} bytes") from None
    except TooManyValues as error:
        many = f"have more than {_MAX_VALUES_BESIDE_BATCHES:,} values, which are objects, arrays and what is in them"
        if _FIELD_NAME.match(error.name):
            raise _too_large(f"{many}; most of them in {error.name}", error.name) from None
        raise _too_large(many) from None
    except msgspec.ValidationError:
        raise InvalidRequest("The body must be a JSON object with the task's arguments.") from None
    except msgspec.DecodeError as error:
        where = str(error).removeprefix("JSON is malformed: ")
        raise InvalidRequest(
            f"The body is not JSON: {where}.", suggestion="NaN, Infinity and trailing commas are not JSON."
        ) from None
    except RecursionError:
        raise InvalidRequest("The body nests too deep.") from None
    for name, raw in fields.items():
        if name not in _READ_BY_ITEM:
            _refuse_ambiguous(name, raw)
    return fields


def _too_large(how: str, field: str | None = None) -> BodyTooLarge:
    return BodyTooLarge(
        f"The arguments other than events {how}.",
        field=field,
        suggestion="Send less in context and ext; split event_sources into several calls without delete_missing.",
    )


def _split(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        return fields_of(body, _BATCHES, *_MOST_BESIDE_BATCHES)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        spelled_out = spell_out_half_pairs(body)
        if spelled_out == body:
            raise
        return fields_of(spelled_out, _BATCHES, *_MOST_BESIDE_BATCHES)


def _refuse_ambiguous(name: str, raw: msgspec.Raw) -> None:
    """Refuse a field that gives a name twice, at whatever depth, has what JSON can't carry, or nests too deep."""
    field = name if _FIELD_NAME.match(name) else None
    try:
        parse_json(raw, what=field or "A field", max_depth=_MAX_DEPTH, wide_integers=True)
    except InvalidJson as error:
        raise InvalidRequest(error.message, field=field) from None


def _invalid(problem: str, name: str, shape: Any) -> InvalidRequest:
    """The error that msgspec found in one field, in a sentence that quotes no value."""
    path, sentence = describe_validation_error(problem)
    if listed := allowed_values(shape, path):
        sentence = f"must be one of {', '.join(listed)}"
    field = f"{name}{path}"
    if sentence == "is required":
        return InvalidRequest(f"{field} is required.", field=field.rpartition(".")[0])
    return InvalidRequest(f"{field} {sentence}.", field=field)
