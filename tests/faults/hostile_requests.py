"""Requests that nobody should send, each made from a seed and its number, as bytes that go onto a connection."""

from __future__ import annotations

import gzip
import random
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple
from urllib.parse import quote
from uuid import UUID

import msgspec
from tests.faults.hostile_json import broken_text, spoiled
from tests.right_calls import RIGHT_CALLS

from postback.tasks.registry import SELLER_TASKS, TASKS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["KINDS", "Facts", "HostileRequest", "hostile_request", "task_call"]

Headers = list[tuple[str, str]]

_JSON: Headers = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]
_LIMIT = 64_000_000
_TRANSPORTS = ("rest", "mcp", "a2a")
_FRAMES = {
    "mcp": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"TASK","arguments":ARGS}}',
    "a2a": b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"role":"ROLE_USER","messageId":"1",'
    b'"parts":[{"data":{"skill":"TASK","input":ARGS}}]}}}',
}
_CALLS = {name: RIGHT_CALLS.get(name, [dict(task.example)]) for name, task in TASKS.items()}
_TASKS = list(_CALLS)


class Facts(NamedTuple):
    """What hostile requests need to know of a server.

    Attributes:
        key: An API key of the account ``default``.
        weak_keys: Keys that exist and may do less: a buyer's, a seller's, a revoked one.
        routes: Methods and templates of paths.
        known: Ids that paths may name.
        others: Ids of another account.
        click_token: Of a link.
    """

    key: str
    weak_keys: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]
    known: tuple[str, ...]
    others: tuple[str, ...]
    click_token: str


class HostileRequest(NamedTuple):
    """A request, or something like one.

    Attributes:
        kind: One of KINDS.
        transport: ``rest``, ``mcp`` or ``a2a``.
        sent: Its bytes.
        answers: How many answers it must have; 0 if it hangs up.
        whole: Whether the connection can be used for another one.
    """

    kind: str
    transport: str
    sent: bytes
    answers: int = 1
    whole: bool = True


class _Maker(NamedTuple):
    facts: Facts
    chance: random.Random
    transport: str

    def head(self, method: str, path: str, headers: Headers, *, key: str | None = None) -> bytes:
        """A request's line and headers, with the key of ``default`` unless another one is given; "" is none."""
        key = self.facts.key if key is None else key
        authorization = [("Authorization", f"Bearer {key}")] if key else []
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{n}: {v}" for n, v in [*authorization, *headers])]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"

    def call(self, body: bytes, headers: Headers | None = None, *, path: str = "", key: str | None = None) -> bytes:
        """A request with a body to the endpoint of the transport, or to a path."""
        headers = [*_JSON, *(headers or []), ("Content-Length", str(len(body)))]
        return self.head("POST", path or f"/{self.transport}", headers, key=key) + body

    def task(self, task: str, arguments: bytes, headers: Headers | None = None, *, key: str | None = None) -> bytes:
        """A call of a task, over the transport."""
        path, body = task_call(self.transport, task, arguments)
        return self.call(body, headers, path=path, key=key)

    def right(self) -> tuple[str, bytes]:
        """The name of a task, and right arguments."""
        task = self.chance.choice(_TASKS)
        return task, msgspec.json.encode(self._fresh(task))

    def spoiled(self) -> tuple[str, bytes]:
        """The name of a task, and spoiled arguments."""
        task = self.chance.choice(_TASKS)
        return task, spoiled(self._fresh(task), self.chance)

    def _fresh(self, task: str) -> dict[str, object]:
        call = self.chance.choice(_CALLS[task])
        return {**call, "idempotency_key": str(UUID(int=self.chance.getrandbits(128)))}


def task_call(transport: str, task: str, arguments: bytes) -> tuple[str, bytes]:
    """The path and the body of a call of a task."""
    if transport == "rest":
        return f"/v1/{task}", arguments
    return f"/{transport}", _FRAMES[transport].replace(b"TASK", task.encode()).replace(b"ARGS", arguments)


def hostile_request(facts: Facts, seed: int, number: int) -> HostileRequest:
    """The request of this number."""
    chance = random.Random(f"{seed}:{number}")
    kind = chance.choices(list(_KINDS), _WEIGHTS)[0]
    transport = chance.choice(_TRANSPORTS)
    make, _ = _KINDS[kind]
    sent, answers, whole = make(_Maker(facts, chance, transport))
    return HostileRequest(kind, transport, sent, answers, whole)


Made = tuple[bytes, int, bool]
"""The bytes, how many answers there must be, and whether the connection can be used again."""


def _spoiled_calls(maker: _Maker) -> Made:
    task, arguments = maker.spoiled()
    if maker.transport == "rest" and maker.chance.random() < 0.2:
        task = maker.chance.choice(list(SELLER_TASKS))
        arguments = spoiled(SELLER_TASKS[task].example, maker.chance)
    elif maker.chance.random() < 0.02:
        task = maker.chance.choice(("unknown", "log_event%00", "LOG_EVENT", "exposures", "__init__"))
    return maker.task(task, arguments), 1, True


def _broken_text(maker: _Maker) -> Made:
    path, body = task_call(maker.transport, *maker.spoiled())
    return maker.call(broken_text(body, maker.chance), path=path), 1, True


def _cut_bodies(maker: _Maker) -> Made:
    sent = maker.task(*maker.right())
    return sent[: maker.chance.randrange(1, len(sent))], 0, False


def _compressed_bodies(maker: _Maker) -> Made:
    chance = maker.chance
    path, body = task_call(maker.transport, *maker.right())
    coding = chance.choice(("gzip", "zstd"))
    packed = bytearray(gzip.compress(body, 1) if coding == "gzip" else zstd.compress(body, 1))
    match chance.randrange(80):
        case 0:
            packed = bytearray(chance.choice(_bombs(coding)))
        case 1 | 2 | 3:
            packed[-4:] = chance.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x03"))
        case value if value < 20:
            del packed[chance.randrange(len(packed)) :]
        case value if value < 40:
            packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
        case value if value < 50:
            packed += chance.choice((b"\0", bytes(packed), b"\x1f\x8b", chance.randbytes(100)))
        case value if value < 60:
            coding = chance.choice(("br", "deflate", "identity", "gzip, gzip", "", "x" * 500, "GZIP", "zstd"))
    return maker.call(bytes(packed), [("Content-Encoding", coding)], path=path), 1, True


@cache
def _bombs(coding: str) -> tuple[bytes, ...]:
    """Small bodies that grow large."""
    start = b'{"event_source_id":"website","events":['
    grown = (
        b" " * 2 * _LIMIT,
        b'{"ext":[' + b"[]," * 15_000_000 + b"0]}",
        start + b"0," * 25_000_000 + b"0]}",
        start + b'{"event_id":"a","x":[' + b"[]," * 15_000_000 + b"0]}]}",
        b"[" * 50_000_000,
    )
    return tuple(gzip.compress(body, 1) if coding == "gzip" else zstd.compress(body, 1) for body in grown)


def _odd_headers(maker: _Maker) -> Made:
    headers = [maker.chance.choice(_ODD_HEADERS) for _ in range(maker.chance.randint(1, 3))]
    return maker.task(*maker.right(), headers), 1, False


_ODD_HEADERS: Headers = [
    *(("Authorization", value) for value in ("Bearer x", "Basic eDp5", "Bearer", "", "Bearer \udcff", "bearer a b")),
    *(("x-adcp-auth", value) for value in ("x", "", "é" * 100)),
    *(("Content-Type", value) for value in ("text/plain", "", "application/json; charset=utf-16", "x" * 5_000)),
    *(("Accept", value) for value in ("", "text/html", "*/*;q=2", "application/json", "x" * 5_000)),
    *(("Origin", value) for value in ("null", "https://evil.example", "http://localhost:1", "::", "\udcff")),
    *(("MCP-Protocol-Version", value) for value in ("2025-06-18", "1999-01-01", "x", "", "x" * 5_000)),
    *(("Mcp-Session-Id", value) for value in ("1", "\udcff", "x" * 5_000)),
    *(("Mcp-Method", "tools/list"), ("Mcp-Name", "x"), ("Last-Event-ID", "1")),
    *(("A2A-Version", value) for value in ("0.3", "1.0", "1.0.99999999999", "2", "", "x")),
    *(("A2A-Extensions", "https://x.example"), ("X-Request-Id", "a" * 129), ("X-Request-Id", "\udcff{}")),
    *(("X-Forwarded-For", value) for value in ("1.2.3.4", "::1", "x", "1.2.3.4, " * 500, "\udcff")),
    *(("Signature-Input", value) for value in ("sig1=()", 'sig1=("@method");keyid="x"', "((((", "x" * 9_000, "\udcff")),
    *(("Signature", value) for value in ("sig1=:AAAA:", "sig1=:", "x")),
    *(("Content-Digest", "sha-256=:AAAA:"), ("Expect", "100-continue"), ("Expect", "x"), ("Range", "bytes=0-0")),
    *(("Host", "evil.example"), ("Host", ""), ("TE", "trailers"), ("Upgrade", "websocket"), ("Upgrade", "h2c")),
    *(("Connection", "close"), ("Connection", "upgrade"), ("Cookie", "x=" + "y" * 9_000), ("Trailer", "X")),
    *((f"X-{number}", "y" * 100) for number in range(5)),
]


def _framing(maker: _Maker) -> Made:
    path, body = task_call(maker.transport, *maker.right())
    headers, framed = maker.chance.choice(_FRAMINGS)
    size = str(len(body)).encode()
    head = maker.head("POST", path, _JSON)[:-2] + headers.replace(b"SIZE", size) + b"\r\n\r\n"
    return head + framed.replace(b"SIZE", b"%x" % len(body)).replace(b"BODY", body), 1, False


_FRAMINGS = [
    *((b"Content-Length: " + size, b"BODY") for size in (b"-1", b"many", b"9" * 30, b"+5", b"5, 6", b"0x10", b" ")),
    *((b"Content-Length: SIZE\r\n" + other, b"BODY") for other in (b"Content-Length: 3", b"X: a\0b", b"no colon")),
    (b"Content-Length: SIZE\r\nTransfer-Encoding: chunked", b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\nContent-Length: SIZE", b"SIZE\r\nBODY\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked, identity", b"SIZE\r\nBODY\r\n0\r\n\r\n"),
    (b"Transfer-Encoding : chunked", b"SIZE\r\nBODY\r\n0\r\n\r\n"),
    (b"transfer-encoding;: x", b"BODY"),
    (b"Transfer-Encoding: ;", b"BODY"),
    (b"Transfer-Encoding: chunked\r\nConnection: close", b"SIZE\r\nBODY\r\n0\r\nX: y\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\nConnection: close", b"SIZE;x=y\r\nBODY\r\n0\r\n\r\n"),
    (b"Content-Length: 0\r\nConnection: close", b""),
    *((b"Transfer-Encoding: chunked", b + b"\r\n\r\n") for b in (b"zz\r\nabc", b"-1", b"f" * 18, b"3\r\nabcdef")),
    (b"Content-Length: SIZE\r\n folded: x", b"BODY"),
    (b"Content-Length: SIZE\r\n\r\nGET / HTTP/0.9", b"BODY"),
]
"""Lines after the other headers, and what follows the head: ways to say two things about where a request ends."""


def _methods_and_paths(maker: _Maker) -> Made:
    chance = maker.chance
    method, path = chance.choice(maker.facts.routes)
    while "{" in path:
        before, _, rest = path.partition("{")
        segments = maker.facts.known if chance.random() < 0.5 else _SEGMENTS
        value = quote(chance.choice(segments), safe=chance.choice(("", "/%?#")), errors="surrogateescape")
        path = f"{before}{value}{rest.partition('}')[2]}"
    match chance.randrange(6):
        case 0:
            method = chance.choice(_METHODS)
        case 1:
            path = chance.choice((f"/{path}", f"{path}/", f"{path}/..", f"//evil.example{path}", path[:-1], path * 50))
        case 2:
            path += chance.choice(
                (
                    "?",
                    "?format=json",
                    "?format=csv",
                    "?format=%00",
                    "?a=%ff&a=%00",
                    "?cursor=" + "x" * 3_000,
                    "#x",
                    ";a",
                    "?account_id=%ed%a0%80",
                )
            )
        case 3:
            path = chance.choice(("*", "/%", "/%zz", "/\udcff", "http://x/healthz", "/" + "a" * 9_000, "/v1/", "/.env"))
    key = chance.choice((None, None, ""))
    spoilt = maker.spoiled()[1]
    body = b"" if method in ("GET", "HEAD") else chance.choice((b"", b"[", b"\xff", b"csrf=x&x=%ff", spoilt, spoilt))
    headers = [("Content-Length", str(len(body))), chance.choice(_ODD_HEADERS)]
    return maker.head(method, path, headers, key=key) + body, 1, False


_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X")
_SEGMENTS = (
    *("website", "purchase", "x" * 300, "\0", "..", "../../etc/passwd", "é", "' OR 1=1 --", "%", "{name:String}", " "),
    *("\udced\udca0\udc80", "a/b", "a?b", "#", "", "seeded", "seeded_1", "order_1", "\\x27\n\t", "\ufeff"),
)


def _mcp(maker: _Maker) -> Made:
    """Whatever a client of MCP's might say, and sessions, which there are none of."""
    chance = maker.chance
    if chance.random() < 0.2:
        headers = [("Accept", "text/event-stream"), ("Mcp-Session-Id", "1"), ("Last-Event-ID", "1")]
        return maker.head(chance.choice(("GET", "DELETE", "PUT")), chance.choice(("/mcp", "/mcp/")), headers), 1, False
    version = chance.choice(("2025-11-25", "2025-06-18", "2024-11-05", "1999", "", None, 5))
    message = _message(chance, chance.choice(_MCP_METHODS))
    text = message.replace(b"VERSION", b"null" if version is None else f'"{version}"'.encode())
    key = chance.choice((None, ""))
    return maker._replace(transport="mcp").call(text, [chance.choice(_ODD_HEADERS)], key=key), 1, False


_MCP_METHODS = (
    *("initialize", "ping", "tools/list", "tools/call", "notifications/initialized", "notifications/cancelled"),
    *("resources/list", "resources/read", "prompts/get", "logging/setLevel", "completion/complete", "roots/list"),
    *("sampling/createMessage", "tasks/get", "server/discover", "", "x" * 3_000, "__init__"),
)
_A2A_METHODS = (
    *("message/send", "SendMessage", "tasks/get", "GetTask", "tasks/cancel", "CancelTask", "message/stream"),
    *("SendStreamingMessage", "ListTasks", "tasks/pushNotificationConfig/set", "GetExtendedAgentCard", "", "x" * 3_000),
)
_PARAMS = (
    b'{"protocolVersion":VERSION,"capabilities":{},"clientInfo":{"name":"x","version":"1"}}',
    b'{"protocolVersion":VERSION,"capabilities":[],"clientInfo":null}',
    *(b"{}", b"null", b"[]", b'"x"', b"[1,2]", b'{"cursor":"x"}', b'{"name":"log_event"}', b'{"name":5,"arguments":5}'),
    *(b'{"name":"unknown","arguments":{}}', b'{"name":"log_event","name":"x"}', b'{"_meta":{"progressToken":1e400}}'),
    *(b'{"id":"x"}', b'{"id":5}', b'{"id":"tasks/../x","historyLength":-1}', b'{"id":"%b"}' % (b"x" * 300)),
    *(b'{"message":{}}', b'{"message":{"parts":[]}}', b'{"message":{"parts":[{"text":"hi"}]}}', b'{"message":[]}'),
    b'{"message":{"parts":[%b{"data":{"skill":"x"}}]}}' % (b"{}," * 100),
    b'{"message":{"parts":[{"data":{"skill":"list_accounts","input":{},"parameters":{"status":"x"}}}]}}',
    b'{"message":{"contextId":5,"parts":[{"data":{"skill":"list_accounts"}}]}}',
    b'{"requestId":1,"reason":"x"}',
    b'{"x":"%b"}' % (b"y" * 66_000),
)
_IDS = (b"1", b'"a"', b"null", b"1.5", b"1e400", b"[]", b"{}", b"true", b'"%b"' % (b"x" * 3_000), b"-1", b"9" * 40)


def _message(chance: random.Random, method: str) -> bytes:
    fields = [b'"jsonrpc":%b' % chance.choice((*(b'"2.0"',) * 8, b'"1.0"', b"2.0", b"null"))]
    fields.append(b'"method":"%b"' % method.encode())
    if chance.random() < 0.9:
        fields.append(b'"id":%b' % chance.choice(_IDS))
    if chance.random() < 0.9:
        fields.append(b'"params":%b' % chance.choice(_PARAMS))
    chance.shuffle(fields)
    return b"{%b}" % b",".join(fields)


def _json_rpc(maker: _Maker) -> Made:
    chance = maker.chance
    methods = _MCP_METHODS if maker.transport == "mcp" else _A2A_METHODS
    messages = [_message(chance, chance.choice(methods)).replace(b"VERSION", b'"2025-06-18"') for _ in range(3)]
    text = chance.choice((messages[0], messages[0], b"[%b]" % b",".join(messages), b"[]", b"\n".join(messages)))
    path = "/mcp" if maker.transport == "mcp" else chance.choice(("/a2a", "/"))
    return maker.call(text, path=path), 1, True


def _wrong_keys(maker: _Maker) -> Made:
    chance = maker.chance
    key = chance.choice(maker.facts.weak_keys)
    if chance.random() < 0.4:
        key = chance.choice(("pb_" + chance.randbytes(16).hex(), "x", "\udcff" * 20, "x" * 8_000, "pb_", "null", ""))
    return maker.task(*maker.right(), key=key), 1, False


def _ids_of_others(maker: _Maker) -> Made:
    task, arguments = maker.right()
    other = maker.chance.choice(maker.facts.others).encode()
    for own in (b'"default"', b'"website"', b'"seeded"', b'"seeded_1"'):
        if maker.chance.random() < 0.7:
            arguments = arguments.replace(own, b'"%b"' % other)
    return maker.task(task, arguments), 1, True


def _click_tokens(maker: _Maker) -> Made:
    chance, token = maker.chance, maker.facts.click_token
    at = chance.randrange(len(token))
    forged = chance.choice(
        (
            token,
            token[:at] + chance.choice("AZaz09-_.=%") + token[at + 1 :],
            token[:at],
            token * 20,
            token.partition(".")[0],
            ".",
            "W10.x",
            "%00",
        )
    )
    headers = [("User-Agent", chance.choice(("", "curl/8", "Googlebot/2.1", "Mozilla/5.0 \udcff", "x" * 9_000)))]
    headers += chance.choice(([], [("Sec-Purpose", "prefetch")], [("Purpose", "preview")], [("X-Forwarded-For", "1")]))
    return maker.head(chance.choice(("GET", "GET", "HEAD", "POST")), f"/c/{forged}", headers, key=""), 1, False


def _pipelines(maker: _Maker) -> Made:
    """Several requests that are sent at once, over one connection."""
    calls = [maker.task(*maker.spoiled()) for _ in range(maker.chance.randint(2, 5))]
    return b"".join(calls), len(calls), True


_KINDS: dict[str, tuple[Callable[[_Maker], Made], int]] = {
    "right calls, spoiled": (_spoiled_calls, 42),
    "broken JSON": (_broken_text, 10),
    "bodies cut short": (_cut_bodies, 4),
    "compressed bodies, broken or bombs": (_compressed_bodies, 6),
    "odd headers": (_odd_headers, 8),
    "odd framing": (_framing, 4),
    "methods and paths": (_methods_and_paths, 12),
    "MCP's other messages": (_mcp, 4),
    "JSON-RPC": (_json_rpc, 4),
    "wrong keys": (_wrong_keys, 4),
    "ids of others": (_ids_of_others, 3),
    "click tokens": (_click_tokens, 2),
    "pipelines": (_pipelines, 1),
}
_WEIGHTS: Sequence[int] = [weight for _, weight in _KINDS.values()]
KINDS = tuple(_KINDS)
