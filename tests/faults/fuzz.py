"""Sends hostile requests to a server, a million by default: python -m tests.faults.fuzz --requests 1000000

They come over REST, MCP and A2A and to every route, beside a hundred slow connections and a client that does nothing
wrong. No answer may be a 5xx but a 503 of a bound that says when to retry; the client must be served as by a fresh
server, and memory and open files must not grow. Each request is made from a seed and its number. The pieces that were
sent are counted in a file, so that a later run goes on with them. A request with a wrong answer is written to a file,
and --replay sends it again.

The measures are ratios within the run, which hold on a machine that does much else:

- The client calls a second server in turn, a fresh one that nobody attacks. What else the machine does, such as making
  the requests on the same cores, delays both alike.
- Memory and open files are read every second while requests are under way, since a hundred slow connections are as many
  files by design. The medians of the last tenth of the pieces are compared with those of the first piece. Before it
  come requests that are not counted: pools start their threads when they first need them, and keep them, and each of
  the engine's has three files open.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import HTTP, Server, StartServer, servers
from tests.engine import select_from
from tests.faults.counted_tries import counted_tries, markdown_table, options_of_tries, read_tries
from tests.faults.hostile_load import send, send_one
from tests.faults.hostile_requests import KINDS, Facts, task_call

from postback.console.page import Action
from postback.console.routes import PAGES

__all__ = ["Target", "table"]

COUNTED = "tests/faults/counted/fuzz.jsonl"
CONNECTIONS = 4
SLOW_CONNECTIONS = 100
REQUESTS_A_SECOND = 100
"""The client is to be measured beside hostile requests, and not on a server that is simply full.

Two cores carry so many, beside their sender and the server that nobody attacks. Of more, the client's median tells how
long a call waits for a core.
"""

MOST_MEMORY_GROWTH = 1.3
MOST_FILES_GROWTH = 1.1
MOST_SLOWDOWN = 2.0

_PIECE = 5_000
_WARMING_UP = 10_000
_PAUSE_SECONDS = 0.1
_LOOK_SECONDS = 1.0
_FIXED_ROUTES = (
    *(("POST", path) for path in ("/mcp", "/mcp/", "/a2a", "/", "/v1/{task}")),
    *(("GET", path) for path in ("/.well-known/agent-card.json", "/", "/console", "/console/static/{name}")),
    *(("GET", path) for path in ("/tag.js", "/tag/v/{digest}.js", "/tag/{seller_id}", "/tag/{seller_id}.gif")),
    *(("POST", path) for path in ("/tag/{seller_id}", "/console/sign-in", "/console/sign-out")),
    *(("POST" if isinstance(page, Action) else "GET", page.path) for page in PAGES),
)
"""Those that the OpenAPI document doesn't describe."""
_SETTINGS = {
    "sandbox": "true",
    "rate_limit": 10**9,
    "rate_limit_events": 10**12,
    "max_event_age_days": 36_500,
    "pending_accounts": 1_000,
    "media_buys": 100,
}
"""So that rate limits don't keep the requests from what lies behind them, and the limits are at work all the same."""


@dataclass
class Target:
    """A running server that hostile requests are sent to.

    Attributes:
        server: The server.
        facts: What is needed to make the requests.
        client: The one that does nothing wrong.
        reference: The same client of a server that nobody attacks.
        started: When the server was, in seconds since the epoch.
    """

    server: Server
    facts: Facts
    client: CleanClient
    reference: CleanClient
    started: int

    @classmethod
    def start(cls, start: StartServer) -> Target:
        """Start a server, with what the requests need, and one to compare it with."""
        server, reference = start(**_SETTINGS), start(**_SETTINGS)
        server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
        seed = {"scenario": "seed_media_buy", "params": {"media_buy_id": "seeded", "fixture": {"status": "active"}}}
        server.call("comply_test_controller", **seed).raise_for_status()
        client = CleanClient.of_a_neighbour(server)
        return cls(server, _facts(server), client, CleanClient.of_a_neighbour(reference), int(time.time()))

    def warm_up(self, seed: int) -> None:
        """Send requests that are not counted, so that everything is in memory that a server has in memory."""
        self.send(seed, range(-_WARMING_UP, 0))

    def send(
        self,
        seed: int,
        numbers: range,
        *,
        connections: int = CONNECTIONS,
        slow: int = SLOW_CONNECTIONS,
        a_second: int = REQUESTS_A_SECOND,
    ) -> Piece:
        """Send the requests of these numbers, and call as a client that does nothing wrong meanwhile."""
        started = time.monotonic()
        port = urlsplit(self.server.url).port or 0
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
            sending = processes.submit(send, port, self.facts, seed, numbers, connections, slow, a_second)
            taken, own, reference = [_taken(self.server)], [self.client.call()], [self.reference.call()]
            look = time.monotonic() + _LOOK_SECONDS
            while not sending.done():
                own.append(self.client.call())
                reference.append(self.reference.call())
                time.sleep(_PAUSE_SECONDS)
                if time.monotonic() > look:
                    taken.append(_taken(self.server))
                    look = time.monotonic() + _LOOK_SECONDS
            sent = sending.result()
        return sent | {
            "requests": len(numbers),
            "seconds": round(time.monotonic() - started, 1),
            "started": self.started,
            "taken": {what: statistics.median(each[what] for each in taken) for what in taken[0]},
            "taken_at_most": {what: max(each[what] for each in taken) for what in taken[0]},
            "clean": _timed(own),
            "reference": _timed(reference),
        }

    def check(self) -> None:
        """Stop the server; check that it logged no defect, and stored what the client sent, once."""
        self.client.close()
        self.reference.close()
        self.server.stop()
        log = self.server.log.read_text(errors="replace")
        assert "Traceback" not in log, f"a defect is in {self.server.log}"
        [(stored,)] = select_from(self.server.data, "SELECT count() FROM event FINAL WHERE account_id = 'neighbour'")
        assert stored == self.client.calls, "an event of the client is lost, or there twice"


Piece = dict[str, Any]
"""What came of the requests of one piece; a line of the file that counts them."""


class CleanClient:
    """A client that does nothing wrong: it logs one event a call, over each transport in turn."""

    def __init__(self, server: Server, key: str) -> None:
        self.calls = 0
        self._key = key
        self._connection = HTTPConnection(urlsplit(server.url).netloc, timeout=120)
        source = {"event_sources": [{"event_source_id": "neighbours-own"}]}
        self._send("rest", "sync_event_sources", json.dumps(source).encode())

    @classmethod
    def of_a_neighbour(cls, server: Server) -> CleanClient:
        """The client of a server's account ``neighbour``, which is created."""
        server.command("accounts", "create", "neighbour")
        return cls(server, server.command("keys", "create", "--account", "neighbour").split()[-1])

    def call(self) -> float:
        """Log an event; returns how long the answer took, in seconds."""
        event = f'{{"event_id":"clean_{self.calls}","event_type":"lead","event_time":"2026-01-15T14:30:00Z"}}'
        arguments = f'{{"event_source_id":"neighbours-own","events":[{event}]}}'.encode()
        started = time.perf_counter()
        answer = self._send(("rest", "mcp", "a2a")[self.calls % 3], "log_event", arguments)
        seconds = time.perf_counter() - started
        assert b'"events_processed":1' in answer, answer
        self.calls += 1
        return seconds

    def close(self) -> None:
        """Close its connection."""
        self._connection.close()

    def _send(self, transport: str, task: str, arguments: bytes) -> bytes:
        path, body = task_call(transport, task, arguments)
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        assert response.status == 200, answer
        return answer


def _facts(server: Server) -> Facts:
    described = HTTP.get(f"{server.url}/openapi.json").json()["paths"]
    routes = [(method.upper(), path) for path, item in described.items() for method in item]
    buyer, seller, revoked = (
        server.command("keys", "create", "--account", "default", "--scope", scope).split()[-1]
        for scope in ("buyer", "seller", "buyer")
    )
    listed = server.command("keys", "list").splitlines()
    server.command("keys", "revoke", next(word for word in listed[-1].split() if word))
    link = {"media_buy_id": "seeded", "package_id": "seeded_1", "destination": "https://shop.example/"}
    token = server.call("click-links", **link).raise_for_status().json()["token"]
    others = ("neighbour", "neighbours-own", "src_1", "clean_1")
    [source] = server.call("sync_event_sources").json()["event_sources"]
    known = ("default", "website", source["seller_id"], "seeded", "seeded_1", "purchase", "a")
    return Facts(server.key, (buyer, seller, revoked), (*routes, *_FIXED_ROUTES), known, others, token)


def _timed(seconds: Sequence[float]) -> dict[str, float]:
    median, slowest = statistics.median(seconds), max(seconds)
    return {"calls": len(seconds), "median_ms": round(1000 * median, 2), "slowest_ms": round(1000 * slowest)}


def _taken(server: Server) -> dict[str, int]:
    """What the server and its children take: resident memory in MB, and open files."""
    processes = list(_with_children(server.process.pid))
    pages = sum(int(re.findall(r"VmRSS:\s+(\d+) kB", (process / "status").read_text())[0]) for process in processes)
    files = sum(len(list((process / "fd").iterdir())) for process in processes)
    return {"memory_mb": pages // 1024, "files": files}


def _with_children(pid: int) -> Iterator[Path]:
    process = Path(f"/proc/{pid}")
    yield process
    for thread in (process / "task").iterdir():
        with suppress(FileNotFoundError):  # it has ended
            for child in (thread / "children").read_text().split():
                yield from _with_children(int(child))


@contextmanager
def fuzzed() -> Iterator[Target]:
    """A server of its own that hostile requests may be sent to."""
    with (
        tempfile.TemporaryDirectory(prefix="postback-fuzz-") as folder,
        servers(lambda: Path(tempfile.mkdtemp(dir=folder))) as start,
    ):
        yield Target.start(start)


def _keep_defects(piece: Piece, folder: Path) -> Piece:
    """Write the defects of a piece to files that --replay reads; raises if there are any."""
    defects = piece.pop("defects")
    folder.mkdir(parents=True, exist_ok=True)
    for defect in defects:
        file = folder / f"{defect['seed']}-{defect['number']}.json"
        file.write_text(json.dumps(defect, indent=1))
        sys.stderr.write(f"{defect['why']}: python -m tests.faults.fuzz --replay {file}\n")
    if defects:
        raise AssertionError(f"{len(defects)} requests had a wrong answer")
    return piece


def _replay(file: Path) -> None:
    defect = json.loads(file.read_text())
    with fuzzed() as target:
        port = urlsplit(target.server.url).port or 0
        request, why = send_one(port, target.facts, defect["seed"], defect["number"])
    sys.stdout.write(f"{request.kind}, over {request.transport}: {request.sent[:2_000]!r}\n{why or 'a right answer'}\n")
    sys.exit(bool(why))


def table(pieces: Sequence[Piece]) -> str:
    """What came of all pieces, as tables of Markdown."""
    sums = {name: Counter[str]() for name in ("kinds", "transports", "statuses", "refused")}
    for piece in pieces:
        for name, counted in sums.items():
            counted.update(piece[name])
    calls = sum(piece["clean"]["calls"] for piece in pieces)
    beside = (
        ("Connections that sent nothing, or something slowly", sum(piece["slow"] for piece in pieces)),
        ("Calls of a client that does nothing wrong, all successful", calls),
        ("Its median, as a multiple of a server's that nobody attacks", f"{_slowdown(pieces):.2f}"),
        ("Its slowest call", f"{_slowest(pieces, 'clean'):,} ms"),
        ("Its slowest call of the server that nobody attacks", f"{_slowest(pieces, 'reference'):,} ms"),
        ("Resident memory at the end, as a multiple of that at the beginning", f"{_growth(pieces, 'memory_mb'):.2f}"),
        ("Open files, likewise", f"{_growth(pieces, 'files'):.2f}"),
    )
    total = ("All", sums["kinds"].total())
    tables = (
        (("Hostile requests", "Number"), [*((kind, sums["kinds"][kind]) for kind in KINDS), total]),
        (("Sent over", "Number"), sorted(sums["transports"].items())),
        (("Answered with", "Number"), sorted(sums["statuses"].items())),
        (("Refused with 429 or 503, and why", "Number"), sorted(sums["refused"].items())),
        (("Beside them", ""), beside),
    )
    return "\n\n".join(markdown_table(head, rows) for head, rows in tables)


def _slowdown(pieces: Sequence[Piece]) -> float:
    return float(statistics.median(piece["clean"]["median_ms"] / piece["reference"]["median_ms"] for piece in pieces))


def _slowest(pieces: Sequence[Piece], client: str) -> int:
    return int(max(piece[client]["slowest_ms"] for piece in pieces))


def _growth(pieces: Sequence[Piece], what: str) -> float:
    """How much more a server took in its last tenth of pieces than in its first piece, the worst of all servers."""
    servers = (list(own) for _, own in itertools.groupby(pieces, lambda piece: piece["started"]))
    return max(_median(own[-max(1, len(own) // 10) :], what) / _median(own[:1], what) for own in servers)


def _median(pieces: Sequence[Piece], what: str) -> float:
    return float(statistics.median(piece["taken"][what] for piece in pieces))


def main() -> None:
    """Send what is missing, and print what came of all requests."""
    parser = options_of_tries(__doc__, COUNTED, requests=1_000_000)
    parser.add_argument("--seed", type=int, default=0, help="what the requests are made from, with their number")
    parser.add_argument("--replay", type=Path, help="send the request in this file again")
    options = parser.parse_args()
    if options.replay:
        _replay(options.replay)
    if not options.table:
        _send(options.requests, options.counted, options.seed)
    pieces = read_tries(options.counted)
    sys.stdout.write(table(pieces) + "\n")
    grown = _growth(pieces, "memory_mb") > MOST_MEMORY_GROWTH or _growth(pieces, "files") > MOST_FILES_GROWTH
    sys.exit(grown or _slowdown(pieces) > MOST_SLOWDOWN)


def _send(wanted: int, counted: Path, seed: int) -> None:
    """Send what is missing, to one server, and count it by the piece."""
    done = sum(map(_requests, read_tries(counted)))
    if done >= wanted:
        return
    starts = itertools.count(done, _PIECE)
    with fuzzed() as target:
        target.warm_up(seed)
        counted_tries(wanted, counted, lambda: _sent_piece(target, seed, next(starts)), _requests)
        target.check()


def _sent_piece(target: Target, seed: int, start: int) -> Piece:
    return _keep_defects(target.send(seed, range(start, start + _PIECE)), Path("build/fuzz"))


def _requests(piece: Piece) -> int:
    requests: int = piece["requests"]
    return requests


if __name__ == "__main__":
    main()
