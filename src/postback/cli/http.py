"""HTTP/1.1 as uvicorn reads it, with a bound on a request's head, which uvicorn doesn't have."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["BoundedHeadProtocol"]

_MAX_HEAD_BYTES = 65_536


class BoundedHeadProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers don't end: they are in memory before any key is known."""

    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The request line and headers are larger than {_MAX_HEAD_BYTES:,} bytes.")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        super().on_message_complete()
