"""Reads a request body: bounded as sent, and bounded again when decompressed, in memory that is set apart for it."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from typing import Protocol

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from postback.errors import BodyTooLarge, InvalidRequest
from postback.threads import ThreadPool

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError, get_frame_info
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError, get_frame_info

__all__ = ["CODINGS", "Hold", "read_body"]

Hold = Callable[[int], Awaitable[None]]
"""Waits until this many bytes are set apart for a request, more or fewer than before."""

_UNSTATED_BYTES = 65_536
"""A body that doesn't state its length may come to this size before memory is set apart for the largest."""

_STEP_BYTES = 1 << 20
"""Bytes that are decompressed at once."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...


class _GzipDecompressor:
    """zlib's decompressor, which keeps the input that it has not consumed, as zstd's does."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, /, max_length: int) -> bytes:
        part = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length=max_length)
        self.needs_input = len(part) < max_length
        return part


def _zstd() -> _Decompressor:
    # RFC 9659 allows a window of 8 MiB in HTTP; the library's own limit would be 128 MiB for each request.
    return ZstdDecompressor(options={DecompressionParameter.window_log_max: 23})


CODINGS: dict[str, Callable[[], _Decompressor]] = {"gzip": _GzipDecompressor, "zstd": _zstd}
"""The content codings that a request may use, besides identity."""


async def read_body(headers: Mapping[str, str], receive: Receive, limit: int, threads: ThreadPool, hold: Hold) -> bytes:
    """Read and decompress the body of one request.

    Args:
        headers: The request's headers; their names are in lower case.
        receive: The ASGI channel of the request.
        limit: Largest body in bytes, both as sent and decompressed.
        threads: Where it is decompressed.
        hold: Has memory set apart for the body, as it is sent and as it is decompressed.

    Raises:
        BodyTooLarge: The body is larger than ``limit``; the excess was neither read nor decompressed.
        Overloaded: There is no memory for it.
        InvalidRequest: The content coding is unknown, or the body is not valid in it.
        ClientDisconnect: The client disconnected first.
    """
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity" and coding not in CODINGS:
        raise InvalidRequest(
            "The body's Content-Encoding is not supported.",
            suggestion=f"Use one of {', '.join(CODINGS)}, or send the body uncompressed.",
        )
    sent = await _read(headers, receive, limit, hold)
    if coding == "identity":
        return sent
    size = min(_stated_size(sent, coding), limit)
    await hold(len(sent) + size)
    body = await threads.run(_inflate, sent, coding, size, limit)
    await hold(len(body))
    return body


async def _read(headers: Mapping[str, str], receive: Receive, limit: int, hold: Hold) -> bytes:
    length = headers.get("content-length", "")
    stated = length.isdecimal()
    if stated:
        if int(length) > limit:
            raise _too_large(limit)
        await hold(int(length))
    sent, size = BytesIO(), 0  # whose value is its buffer, and not a copy
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        size += sent.write(message.get("body", b""))
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            await hold(size)
            return sent.getvalue()
        if size > _UNSTATED_BYTES and not stated:
            stated = True
            await hold(limit)


def _stated_size(sent: bytes, coding: str) -> int:
    """How large a body says that it is, decompressed; the largest number if it says nothing."""
    if coding == "gzip":
        return int.from_bytes(sent[-4:], "little")
    try:
        size = get_frame_info(sent).decompressed_size
    except ZstdError:
        size = 0  # not a frame, as decompressing it will find
    return sys.maxsize if size is None else size


def _inflate(sent: bytes, coding: str, size: int, limit: int) -> bytes:
    """A decompressed body, whose size is the stated one or, if that is larger, above the limit."""
    decompressor = CODINGS[coding]()
    body, at = BytesIO(), 0
    try:
        while not decompressor.eof and body.tell() <= size:
            part = sent[at : at + _STEP_BYTES] if decompressor.needs_input else b""
            if decompressor.needs_input and not part:
                raise InvalidRequest(f"The {coding} body is truncated.", suggestion=_RECOMPRESS)
            at += len(part)
            body.write(decompressor.decompress(part, max_length=min(_STEP_BYTES, size + 1 - body.tell())))
    except (zlib.error, ZstdError):
        raise InvalidRequest(f"The body is not valid {coding}.", suggestion=_RECOMPRESS) from None
    if body.tell() > limit:
        raise _too_large(limit)
    if body.tell() > size:
        raise InvalidRequest(f"The {coding} body is larger than it states.", suggestion=_RECOMPRESS)
    if decompressor.unused_data or at < len(sent):
        raise InvalidRequest(f"The {coding} body has extra bytes after its end.", suggestion=_RECOMPRESS)
    return body.getvalue()


_RECOMPRESS = "Compress the whole body once, as one gzip member or one zstd frame, and send all of it."


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit:,} bytes.")
