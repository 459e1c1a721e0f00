"""Reads a request body: bounded as sent, and bounded again when decompressed."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from postback.errors import BodyTooLarge, InvalidRequest
from postback.threads import ThreadPool

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

__all__ = ["CODINGS", "read_body"]


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...


def _gzip() -> _Decompressor:
    return zlib.decompressobj(wbits=31)


def _zstd() -> _Decompressor:
    # RFC 9659 allows a window of 8 MiB in HTTP; the library's own limit would be 128 MiB for each request.
    return ZstdDecompressor(options={DecompressionParameter.window_log_max: 23})


CODINGS: dict[str, Callable[[], _Decompressor]] = {"gzip": _gzip, "zstd": _zstd}
"""The content codings that a request may use, besides identity."""


async def read_body(headers: Mapping[str, str], receive: Receive, limit: int, threads: ThreadPool) -> bytes:
    """Read and decompress the body of one request.

    Args:
        headers: The request's headers; their names are in lower case.
        receive: The ASGI channel of the request.
        limit: Largest body in bytes, both as sent and decompressed.
        threads: Where it is decompressed.

    Raises:
        BodyTooLarge: The body is larger than ``limit``; the excess was neither read nor decompressed.
        InvalidRequest: The content coding is unknown, or the body is not valid in it.
        ClientDisconnect: The client disconnected first.
    """
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity" and coding not in CODINGS:
        raise InvalidRequest(
            "The body's Content-Encoding is not supported.",
            suggestion=f"Use one of {', '.join(CODINGS)}, or send the body uncompressed.",
        )
    sent = await _read(headers, receive, limit)
    if coding == "identity":
        return sent
    return await threads.run(_inflate, sent, coding, limit)


async def _read(headers: Mapping[str, str], receive: Receive, limit: int) -> bytes:
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _inflate(sent: bytes, coding: str, limit: int) -> bytes:
    decompressor = CODINGS[coding]()
    try:
        body = decompressor.decompress(sent, max_length=limit + 1)
    except (zlib.error, ZstdError):
        raise InvalidRequest(f"The body is not valid {coding}.", suggestion=_RECOMPRESS) from None
    if len(body) > limit:
        raise _too_large(limit)
    if not decompressor.eof:
        raise InvalidRequest(f"The {coding} body is truncated.", suggestion=_RECOMPRESS)
    if decompressor.unused_data:
        raise InvalidRequest(f"The {coding} body has extra bytes after its end.", suggestion=_RECOMPRESS)
    return body


_RECOMPRESS = "Compress the whole body once, as one gzip member or one zstd frame, and send all of it."


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit:,} bytes.")
