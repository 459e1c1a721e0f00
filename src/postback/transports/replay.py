"""A request whose body was read and rewritten, for a library that reads it again."""

from __future__ import annotations

from starlette.types import Message, Receive, Scope

__all__ = ["once", "rewritten"]


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
