"""JSON-RPC 2.0 messages, read as strictly as other JSON: all of A2A's, and MCP's before its library reads them."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope

from postback.protocol.strict_json import (
    RepeatedName,
    TooLarge,
    decode_typed,
    fields_of,
    spell_out_half_pairs,
)

__all__ = ["NoMessage", "RpcMessage", "once", "read_message", "rewritten", "strict_fields"]

_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600


class RpcMessage(msgspec.Struct, omit_defaults=True):
    """A request or notification, its parameters still unread."""

    method: str
    jsonrpc: str
    id: int | str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw = msgspec.Raw()


class NoMessage(Exception):
    """A body that is not a message; ``response`` is JSON-RPC's error and quotes nothing of it."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        refusal = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": why}}
        self.response = Response(msgspec.json.encode(refusal), 400, media_type="application/json")

    @classmethod
    def without_id(cls) -> NoMessage:
        """A notification, where only requests have a meaning."""
        return cls(_INVALID_REQUEST, "The request needs an id.")


_MAX_BYTES_BESIDE_PARAMS = 65_536


def read_message(body: bytes) -> RpcMessage:
    """The message in a body.

    Raises:
        NoMessage: There is none.
    """
    try:
        message = _message(strict_fields(body, "params"))
    except msgspec.ValidationError:
        message = None
    except RecursionError:
        raise NoMessage(_PARSE_ERROR, "The body is nested too deeply.") from None
    except UnicodeDecodeError:
        raise NoMessage(_PARSE_ERROR, "The body is not UTF-8.") from None
    except msgspec.DecodeError as error:
        raise NoMessage(_PARSE_ERROR, f"The body is not valid JSON: {error}.") from None
    if message is None or message.jsonrpc != "2.0":
        raise NoMessage(_INVALID_REQUEST, "The body must be one JSON-RPC 2.0 request or notification.")
    return message


def _message(fields: dict[str, msgspec.Raw]) -> RpcMessage:
    """The message of these fields; those that are absent stay so when it is written again."""
    if not {"method", "jsonrpc"} <= fields.keys():
        raise msgspec.ValidationError
    return RpcMessage(**{name: decode_typed(fields[name], type_) for name, type_ in _TYPES.items() if name in fields})


_TYPES: dict[str, Any] = {"method": str, "jsonrpc": str, "id": int | str, "params": msgspec.Raw}


def strict_fields(text: bytes | msgspec.Raw, large: str) -> dict[str, msgspec.Raw]:
    """The fields of a message, or of its params, each still raw.

    Args:
        text: The JSON.
        large: The field that may be large.

    Raises:
        NoMessage: It gives a name twice, or is too large beside that field.
        msgspec.ValidationError: It is not an object.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: It can't be read.
    """
    try:
        return fields_of(text, (large,), _MAX_BYTES_BESIDE_PARAMS)
    except RepeatedName:
        raise NoMessage(
            _INVALID_REQUEST, "An object in the message has the same field name twice. Send each field once."
        ) from None
    except TooLarge:
        raise NoMessage(
            _INVALID_REQUEST, f"The message is larger than {_MAX_BYTES_BESIDE_PARAMS:,} bytes beside its {large}."
        ) from None
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        spelled_out = spell_out_half_pairs(bytes(text))
        if spelled_out == text:
            raise
        return strict_fields(spelled_out, large)


def rewritten(scope: Scope, message: bytes) -> Scope:
    """The scope of a request whose body is now ``message``, as it is."""
    replaced = (b"content-length", b"content-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name not in replaced]
    return {**scope, "headers": [*headers, (b"content-length", str(len(message)).encode())]}


def once(message: bytes, receive: Receive) -> Receive:
    """A channel that gives ``message`` as the body, then whatever follows on the real one."""
    pending: list[Message] = [{"type": "http.request", "body": message, "more_body": False}]

    async def next_message() -> Message:
        return pending.pop() if pending else await receive()

    return next_message
