"""Bodies arrive plain or compressed, and never take more memory than the bound."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterable

import anyio
import pytest
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message

from postback.errors import BodyTooLarge, InvalidRequest
from postback.threads import ThreadPool
from postback.transports.body import read_body

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_JSON = b'{"event_source_id": "website"}'
_LIMIT = 1_000
_THREADS = ThreadPool("compute", 1)
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}


class _Channel:
    """The ASGI channel of a request whose body comes in these parts; counts how many were taken."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = list(parts)
        self.taken = 0

    async def receive(self) -> Message:
        if self.taken == len(self._parts):
            return {"type": "http.disconnect"}
        part = self._parts[self.taken]
        self.taken += 1
        return {"type": "http.request", "body": part, "more_body": self.taken < len(self._parts)}


class _Held:
    """Notes what is set apart for a body, as it is read."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def hold(self, size: int) -> None:
        self.sizes.append(size)


def _read(*parts: bytes, coding: str | None = None, length: int | None = None, held: _Held | None = None) -> bytes:
    headers = {"content-encoding": coding} if coding else {}
    headers |= {"content-length": str(length)} if length is not None else {}
    hold = (held or _Held()).hold
    return anyio.run(read_body, Headers(headers), _Channel(parts).receive, _LIMIT, _THREADS, hold)


def test_a_plain_body_is_put_together_from_its_parts() -> None:
    assert _read(_JSON[:7], _JSON[7:]) == _JSON


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(_JSON, mtime=0)),
        ("GZip", gzip.compress(_JSON, mtime=0)),
        ("zstd", zstd.compress(_JSON)),
        ("identity", _JSON),
    ],
)
def test_a_compressed_body_is_inflated(coding: str, body: bytes) -> None:
    assert _read(body[:5], body[5:], coding=coding) == _JSON


@pytest.mark.parametrize("coding", _COMPRESS)
def test_a_body_that_inflates_to_exactly_the_bound_is_read(coding: str) -> None:
    assert len(_read(_COMPRESS[coding](b"x" * _LIMIT), coding=coding)) == _LIMIT


@pytest.mark.parametrize("coding", _COMPRESS)
def test_a_decompression_bomb_is_refused(coding: str) -> None:
    bomb = _COMPRESS[coding](b"0" * 900_000)
    assert len(bomb) < _LIMIT

    with pytest.raises(BodyTooLarge):
        _read(bomb, coding=coding)


def test_a_zstd_frame_that_asks_for_a_huge_window_is_refused() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=options)
    frame = compressor.compress(_JSON) + compressor.flush()

    with pytest.raises(InvalidRequest, match="not valid zstd"):
        _read(frame, coding="zstd")


def test_a_declared_length_above_the_bound_is_refused_before_reading() -> None:
    channel = _Channel([b"x"])

    with pytest.raises(BodyTooLarge, match="larger than 1,000 bytes"):
        anyio.run(read_body, Headers({"content-length": "1001"}), channel.receive, _LIMIT, _THREADS, _Held().hold)

    assert channel.taken == 0


def test_reading_stops_at_the_bound_when_no_length_is_declared() -> None:
    channel = _Channel([b"x" * 600] * 100)

    with pytest.raises(BodyTooLarge):
        anyio.run(read_body, Headers({}), channel.receive, _LIMIT, _THREADS, _Held().hold)

    assert channel.taken == 2


@pytest.mark.parametrize("coding", ["br", "gzip, zstd", "deflate"])
def test_an_unknown_coding_is_refused_with_those_that_work(coding: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        _read(_JSON, coding=coding)

    assert "gzip, zstd" in refused.value.suggestion


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (_JSON, "is not valid gzip"),
        (b"", "is truncated"),
        (gzip.compress(_JSON, mtime=0)[:-4], "is truncated"),
        (gzip.compress(_JSON, mtime=0) + b"more", "has extra bytes"),
        (gzip.compress(_JSON, mtime=0) + gzip.compress(_JSON, mtime=0), "has extra bytes"),
        (gzip.compress(_JSON, mtime=0)[:-4] + bytes(4), "larger than it states"),
    ],
)
def test_a_damaged_body_is_refused_with_what_is_wrong(body: bytes, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        _read(body, coding="gzip")


def test_a_caller_that_goes_away_is_not_answered() -> None:
    with pytest.raises(ClientDisconnect):
        anyio.run(read_body, Headers({}), _Channel([]).receive, _LIMIT, _THREADS, _Held().hold)


@pytest.mark.parametrize("coding", _COMPRESS)
def test_memory_for_a_compressed_body_is_set_apart_before_it_is_inflated(coding: str) -> None:
    sent, held = _COMPRESS[coding](b"x" * _LIMIT), _Held()

    _read(sent, coding=coding, length=len(sent), held=held)

    assert held.sizes == [len(sent), len(sent), len(sent) + _LIMIT, _LIMIT]


def test_memory_for_a_plain_body_is_set_apart_before_it_is_read() -> None:
    channel, sizes = _Channel([_JSON]), []

    async def hold(size: int) -> None:
        sizes.append((size, channel.taken))

    anyio.run(read_body, Headers({"content-length": str(len(_JSON))}), channel.receive, _LIMIT, _THREADS, hold)

    assert sizes == [(len(_JSON), 0), (len(_JSON), 1)]


def test_a_body_of_unknown_size_that_becomes_large_takes_the_memory_of_the_largest() -> None:
    channel, held = _Channel([b"x" * 60_000] * 4), _Held()

    anyio.run(read_body, Headers({}), channel.receive, 1_000_000, _THREADS, held.hold)

    assert held.sizes == [1_000_000, 240_000]


@pytest.mark.parametrize("coding", _COMPRESS)
def test_a_body_of_many_steps_is_inflated_whole(coding: str) -> None:
    body = b"".join(number.to_bytes(4) for number in range(700_000))
    sent = _COMPRESS[coding](body)
    headers = Headers({"content-encoding": coding})

    assert anyio.run(read_body, headers, _Channel([sent]).receive, len(body), _THREADS, _Held().hold) == body
