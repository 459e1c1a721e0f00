"""A task's arguments: one JSON object, taken apart into what every task shares and what is the task's own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from postback.errors import InvalidRequest
from postback.ingest.decode import canonical_json, names_in

__all__ = ["Arguments"]

_T = TypeVar("_T", bound=msgspec.Struct)

_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_.:-]{16,255}\Z")
_NOT_FINGERPRINTED = frozenset(("idempotency_key", "context", "context_id"))
_MAX_CONTEXT_BYTES = 65_536


class Arguments:
    """The members of a call's JSON object, each still raw.

    Raises:
        InvalidRequest: Not UTF-8, not JSON, not an object, or an object that gives the same name twice.
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
        """A digest of what the call asks for: two calls have the same exactly when RFC 8785 writes them alike.

        Args:
            instead_of: Members → digests that stand for them, of the same property.
        """
        digest = sha256()
        for name in sorted(self.members):
            if name not in _NOT_FINGERPRINTED:
                said = instead_of.get(name) or sha256(canonical_json(self.members[name])).digest()
                digest.update(name.encode() + b"\0" + said)
        return digest.digest()


def _typed(raw: msgspec.Raw, shape: Any, name: str) -> Any:
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), name) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest(
            f"{name} holds a string or number that JSON can't carry, or nests too deep.", field=name
        ) from None


def _is_null(raw: msgspec.Raw) -> bool:
    return memoryview(raw).nbytes == 4 and bytes(raw) == b"null"


def _members(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        str(body, "utf-8")
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
    # A name given twice is lost on the way into the dict.
    if names_in(body) != len(members) + sum(names_in(bytes(raw)) for raw in members.values()):
        _refuse_duplicates(body)
    return members


def _refuse_duplicates(body: bytes) -> None:
    """Find a name that the top-level object gives twice; counting can also be misled by space before a colon."""

    def check(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return pairs

    try:
        pairs = json.loads(body, object_pairs_hook=check)
    except (ValueError, RecursionError):
        raise InvalidRequest("The body holds a number that JSON can't carry, or nests too deep.") from None
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest("The body gives the same name twice; send each name once.", field=twice[:64])


def _invalid(problem: str, name: str) -> InvalidRequest:
    """msgspec's sentence about one member, which holds no value, in our words."""
    sentence, _, path = problem.partition(" - at `$")
    field = name + path.rstrip("`")
    if sentence.startswith("Object missing required field"):
        return InvalidRequest(f"{field}.{sentence.split('`')[1]} is required.", field=field)
    sentence = sentence[0].lower() + sentence[1:].replace("`", "").replace(" | null", "")
    return InvalidRequest(f"{field} is wrong: {sentence}.", field=field)
