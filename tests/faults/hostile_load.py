"""Sends hostile requests over a few connections, beside a hundred that are slow; runs in a process of its own."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httptools
import msgspec
import uvloop
from tests.faults.hostile_requests import Facts, HostileRequest, hostile_request, task_call

__all__ = ["Defect", "Sent", "defect_of", "send", "send_one"]

_ANSWER_SECONDS = 120
_MOST_DEFECTS = 20
_INTERNAL = (b'"INTERNAL_ERROR"', b'"code":-32603', b"Traceback (most recent")


@dataclass(frozen=True)
class Defect:
    """A request whose answer is not one that a server should give."""

    seed: int
    number: int
    kind: str
    why: str
    answer: str
    sent: str


@dataclass
class Sent:
    """What came of requests: how many there were of each kind, over each transport, and the statuses of the answers."""

    kinds: Counter[str] = field(default_factory=Counter)
    transports: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    slow: int = 0
    defects: list[Defect] = field(default_factory=list)


@dataclass
class _Answer:
    """A response as it comes in; httptools calls what begins with ``on_``."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class _Answers:
    """Reads the responses on a connection."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._parser = httptools.HttpResponseParser(self)
        self._begun = _Answer()
        self._heads: list[_Answer] = []
        self._whole: list[_Answer] = []

    async def read(self, count: int, *, heads: bool = False) -> list[_Answer]:
        """The next responses, or only their heads; fewer if the connection ends, or what comes is not HTTP."""
        done = self._heads if heads else self._whole
        with suppress(ConnectionError, httptools.HttpParserError):
            while len(done) < count and (data := await self._reader.read(1 << 18)):
                self._parser.feed_data(data)
        answers, done[:] = done[:count], done[count:]
        return answers

    def on_header(self, name: bytes, value: bytes) -> None:
        self._begun.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._begun.status = self._parser.get_status_code()
        if self._begun.status >= 200:
            self._heads.append(self._begun)
        if self._begun.headers.get(b"content-type", b"").startswith(b"text/event-stream"):  # it has no end
            self._whole.append(self._begun)

    def on_body(self, body: bytes) -> None:
        self._begun.body += body

    def on_message_complete(self) -> None:
        if self._begun.status >= 200:  # not "100 Continue"
            self._whole.append(self._begun)
        self._begun = _Answer()


class _Connection:
    def __init__(self, port: int) -> None:
        self._port = port
        self._writer: asyncio.StreamWriter | None = None

    async def exchange(self, request: HostileRequest) -> list[_Answer]:
        """Send a request; returns its answers, over a new connection if it can't share one."""
        if self._writer is None or self._writer.is_closing() or not request.whole:
            await self._renew()
        assert self._writer
        self._writer.write(request.sent)
        if not request.answers:
            await asyncio.sleep(0)
            await self.close()
            return []
        head = request.sent.startswith(b"HEAD")
        async with asyncio.timeout(_ANSWER_SECONDS):
            answers = await self._answers.read(request.answers, heads=head)
        if not request.whole or any(answer.headers.get(b"connection") == b"close" for answer in answers):
            await self.close()
        return answers

    async def _renew(self) -> None:
        await self.close()
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 18)
        self._answers = _Answers(reader)

    async def close(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None


def send(
    port: int, facts: Facts, seed: int, numbers: range, connections: int, slow: int, a_second: int
) -> dict[str, Any]:
    """Send the requests of these numbers, so many a second; returns a ``Sent`` as a dictionary."""
    sent: dict[str, Any] = msgspec.to_builtins(
        uvloop.run(_send_all(port, facts, seed, iter(numbers), connections, slow, a_second))
    )
    return sent


def send_one(port: int, facts: Facts, seed: int, number: int) -> tuple[HostileRequest, str | None]:
    """Send one request again; returns it, and what is wrong with its answer."""
    sent = Sent()
    uvloop.run(_send_each(port, facts, seed, iter((number,)), sent, 0))
    return hostile_request(facts, seed, number), sent.defects[0].why if sent.defects else None


async def _send_all(
    port: int, facts: Facts, seed: int, numbers: Iterator[int], connections: int, slow: int, a_second: int
) -> Sent:
    sent = Sent()
    async with asyncio.TaskGroup() as group:
        dawdling = [group.create_task(_dawdle(port, facts, number, sent)) for number in range(slow)]
        async with asyncio.TaskGroup() as senders:
            for _ in range(connections):
                senders.create_task(_send_each(port, facts, seed, numbers, sent, connections / a_second))
        for task in dawdling:
            task.cancel()
    return sent


async def _send_each(port: int, facts: Facts, seed: int, numbers: Iterator[int], sent: Sent, seconds: float) -> None:
    """Send requests one after the other over a connection, one in so many seconds, and catch up after a slow answer."""
    connection = _Connection(port)
    due = time.monotonic()
    for number in numbers:
        due += seconds
        request = hostile_request(facts, seed, number)
        try:
            answers = await connection.exchange(request)
            why = _count(request, answers, sent)
        except (TimeoutError, OSError) as error:
            answers, why = [], f"{type(error).__name__} instead of an answer"
        if why:
            await connection.close()
            shown = "\n".join(f"{a.status} {bytes(a.body[:2_000])!r}" for a in answers)
            sent.defects.append(
                Defect(seed, number, request.kind, why, shown, request.sent[:100_000].decode("latin-1"))
            )
            if len(sent.defects) >= _MOST_DEFECTS:
                return
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    await connection.close()


def _count(request: HostileRequest, answers: list[_Answer], sent: Sent) -> str | None:
    sent.kinds[request.kind] += 1
    sent.transports[request.transport] += 1
    for answer in answers:
        sent.statuses[str(answer.status)] += 1
        if answer.status in (429, 503):
            sent.refused[_reason(answer)] += 1
    if not request.answers:
        sent.statuses["hung up"] += 1
    return defect_of(request, answers)


def defect_of(request: HostileRequest, answers: list[_Answer]) -> str | None:
    """What is wrong with the answers to a request."""
    if len(answers) < request.answers:
        return f"{len(answers)} of {request.answers} answers"
    for answer in answers:
        if answer.status >= 500 and not _may_refuse(answer, request):
            return f"status {answer.status}"
        if any(sign in answer.body for sign in _INTERNAL):
            return "an internal error"
        is_json = answer.headers.get(b"content-type") == b"application/json"
        if is_json and answer.status != 202 and not request.sent.startswith(b"HEAD"):
            try:
                msgspec.json.decode(answer.body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return "an answer that is not JSON"
    return None


def _may_refuse(answer: _Answer, request: HostileRequest) -> bool:
    """Whether a 5xx is one by which a bound holds: a 503 that says when to retry, or that keeps a prefetched page."""
    prefetched = request.kind == "click tokens" and not answer.body
    return answer.status == 503 and (b"retry-after" in answer.headers or prefetched)


def _reason(answer: _Answer) -> str:
    """Which bound refused a request; a browser's prefetch of a click link is refused without a body."""
    if not answer.body:
        return f"{answer.status} prefetched click link"
    try:
        error = msgspec.json.decode(answer.body)["adcp_error"]
        return f"{answer.status} {error['details']['reason']}"
    except (msgspec.DecodeError, KeyError, TypeError):
        return str(answer.status)


async def _dawdle(port: int, facts: Facts, number: int, sent: Sent) -> None:
    """Hold a connection with something unfinished, slowly, again and again."""
    path, body = task_call("rest", "log_event", b'{"event_source_id":"website","events":[]}')
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {facts.key}\r\n".encode()
    whole = head + b"Content-Length: 100000\r\n\r\n" + body
    texts = (b"", head[:10], head, whole, b"GET /healthz HTTP/1.1\r\n\r\n", b"\0")
    for turn in itertools.count(number):
        text, chance = texts[turn % len(texts)], random.Random(turn)
        with suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            sent.slow += 1
            try:
                for at in range(0, len(text), 7):
                    if writer.is_closing():
                        break
                    writer.write(text[at : at + 7])
                    await asyncio.sleep(chance.random())
                async with asyncio.timeout(60):
                    while await reader.read(1 << 16):
                        pass
            finally:
                writer.close()
