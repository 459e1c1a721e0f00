"""One key takes its share of a server and no more: of its calls, its memory and its look-ups."""

from __future__ import annotations

import gzip
import json
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.acceptance.conversions import order
from tests.conftest import eventually
from tests.integration.console import anonymous
from tests.integration.test_connections import answered, closed, connect
from tests.integration.test_hostile_connections import resident

from postback.auth.api_keys import KeyStore
from postback.store.control_store import ControlStore

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

_TOKEN = "the-token-of-whoever-reads-the-metrics"
_MOST_REQUESTS = 40
_LARGE = 57_000_000
_SPACES = b" " * 1_000_000


@pytest.fixture(scope="module")
def limited(start_server: StartServer) -> Server:
    """A server with low limits, and a source; each test uses a key of its own, or an address."""
    running = start_server(
        rate_limit=100,
        rate_limit_events=100,
        key_concurrency=_MOST_REQUESTS,
        metrics_token=_TOKEN,
        response_quota_bytes=2_500,
    )
    running.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    return running


def with_own_key(server: Server) -> Server:
    """The server, for a caller with a key that nobody else uses."""
    control = ControlStore(f"sqlite:///{server.data}/control.db")
    _, key = KeyStore(control).create(["default"], "one of many", "both")
    control.close()
    return replace(server, key=key)


def head(server: Server, size: int, *, path: str = "/v1/log_event", coding: str = "identity") -> bytes:
    """The head of a request whose body has this size."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nx-adcp-auth: {server.key}\r\nContent-Encoding: {coding}\r\n"
        f"Content-Length: {size}\r\nConnection: close\r\n\r\n"
    ).encode()


def metric(server: Server, name: str, **labels: str) -> float:
    text = httpx2.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {_TOKEN}"}).raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == name and sample.labels == labels)


@pytest.mark.parametrize("path", ["/v1/log_event", "/mcp", "/a2a"])
def test_a_call_over_its_limit_is_refused_before_its_body_is_sent(limited: Server, path: str) -> None:
    caller = with_own_key(limited)
    with caller.client() as client:
        for _ in range(100):
            client.post("/v1/get_adcp_capabilities").raise_for_status()

    with connect(caller) as connection:
        connection.sendall(head(caller, 60_000_000, path=path))
        answer = closed(connection)

    assert answered(answer) == (b"429", "RATE_LIMIT_EXCEEDED")
    assert b"retry-after: " in answer.lower()


@pytest.mark.parametrize("path", ["/v1/log_event", "/mcp", "/a2a"])
def test_a_key_without_events_left_is_refused_before_it_sends_many(limited: Server, path: str) -> None:
    caller = with_own_key(limited)
    for number, status in ((60, 200), (61, 429), (40, 200)):
        events = [order(f"{path}_{number}_{event}") for event in range(number)]
        assert caller.call("log_event", event_source_id="website", events=events).status_code == status

    with connect(caller) as connection:
        connection.sendall(head(caller, 1_000_000, path=path))
        assert answered(closed(connection)) == (b"429", "RATE_LIMIT_EXCEEDED")
    assert caller.call("get_adcp_capabilities").status_code == 200


def test_signing_in_counts_as_a_look_at_the_console(limited: Server) -> None:
    caller = with_own_key(limited)
    with anonymous(caller) as browser:
        said = [browser.post("/console/sign-in", data={"key": caller.key}).status_code for _ in range(101)]

    assert said == [*[303] * 100, 429]
    assert caller.call("get_adcp_capabilities").status_code == 200


def test_a_key_has_only_so_many_requests_at_once(limited: Server) -> None:
    caller = with_own_key(limited)
    with ExitStack() as stack:
        for _ in range(_MOST_REQUESTS):
            stack.enter_context(connect(caller)).sendall(head(caller, 1_000))
        refused = eventually(lambda: (said := caller.call("get_adcp_capabilities")).status_code == 429 and said)
        assert f"{_MOST_REQUESTS} requests under way" in refused.json()["message"]
        assert limited.call("get_adcp_capabilities").status_code == 200

    eventually(lambda: caller.call("get_adcp_capabilities").status_code == 200, "an end of these requests")


def test_unfinished_bodies_take_the_memory_of_two(limited: Server) -> None:
    """30 of them took 2 GB."""
    caller, before = with_own_key(limited), resident(limited)
    with ThreadPoolExecutor(30) as threads, ExitStack() as stack:
        connections = [stack.enter_context(connect(caller)) for _ in range(30)]
        for connection in connections:
            threads.submit(_send_unfinished, connection, head(caller, _LARGE + 1))
        eventually(lambda: metric(limited, "postback_body_memory_bytes") == 2 * (_LARGE + 1), "reading of two bodies")
        assert caller.call("get_adcp_capabilities").status_code == 200
        eventually(lambda: metric(limited, "postback_refused_requests_total", limit="memory") >= 28, "28 refusals")
        after = resident(limited)
        for connection in connections:
            with suppress(OSError):  # those that were refused are closed
                connection.shutdown(socket.SHUT_RDWR)

    assert after - before < 3 * _LARGE
    eventually(lambda: metric(limited, "postback_body_memory_bytes") == 0, "release of the memory")


def _send_unfinished(connection: socket.socket, start: bytes) -> None:
    with suppress(OSError):
        connection.sendall(start)
        for _ in range(_LARGE // 1_000_000):
            connection.sendall(_SPACES)


def test_bombs_take_the_memory_of_two(limited: Server) -> None:
    """16 of them ended a server with 900 MB."""
    caller, before = with_own_key(limited), resident(limited)
    event = json.dumps(order("bomb"))[:-1].encode()
    bomb = gzip.compress(b'{"event_source_id":"website","events":[' + event + b',"x":"' + b"@" * 62_000_000 + b'"}]}')
    assert len(bomb) < 61_500

    def throw(_: int) -> int:
        with caller.client(**{"Content-Encoding": "gzip"}) as client:
            return client.post("/v1/log_event", content=bomb).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(throw, range(8)))

    assert 200 in statuses
    assert set(statuses) <= {200, 503}
    assert resident(limited, "VmHWM") - before < 350_000_000


@contextmanager
def _calling_from(server: Server, address: str) -> Iterator[httpx2.Client]:
    transport = httpx2.HTTPTransport(local_address=address)
    with httpx2.Client(base_url=server.url, transport=transport, timeout=60) as client:
        yield client


def test_an_address_that_guesses_keys_is_refused_without_a_lookup(limited: Server) -> None:
    caller = with_own_key(limited)
    caller.call("get_adcp_capabilities").raise_for_status()

    def ask(client: httpx2.Client, key: str, **headers: str) -> int:
        return client.post("/v1/get_adcp_capabilities", headers={"x-adcp-auth": key, **headers}).status_code

    def refused() -> bool:  # unless another minute begins meanwhile
        guesses = {ask(guessing, f"guess_{number}") for number in range(61)}
        unseen = ask(guessing, with_own_key(limited).key)
        behind_a_proxy = ask(other, "guess", **{"x-forwarded-for": "127.0.0.2"})
        return guesses == {401, 429} and unseen == behind_a_proxy == 429

    with _calling_from(limited, "127.0.0.2") as guessing, _calling_from(limited, "127.0.0.1") as other:
        eventually(refused, "a refusal of a key that was never seen")
        assert ask(guessing, caller.key) == 200
        assert ask(other, with_own_key(limited).key) == 200

    assert metric(limited, "postback_refused_requests_total", limit="address") >= 2
    lines = limited.log.read_text().splitlines()
    assert [line for line in lines if "outcome=AUTH_INVALID" in line]
    assert not [line for line in lines if "outcome=RATE_LIMIT_EXCEEDED" in line and "key=- " in line]


def broken(*event_ids: str) -> dict[str, Any]:
    """A call whose events all fail, with an idempotency key."""
    events = [{"event_id": event_id} for event_id in event_ids]
    return {"event_source_id": "website", "idempotency_key": str(uuid4()), "events": events}


def test_a_call_in_which_every_event_fails_takes_little_of_the_disk(server: Server) -> None:
    """12 KB left 4.4 MB for a day."""
    caller, call = with_own_key(server), broken(*("x" * (number % 9) for number in range(10_000)))
    first = caller.call("log_event", **call).raise_for_status()
    retry = caller.call("log_event", **call).raise_for_status()
    assert len(first.content) > 1_500_000
    assert retry.json()["replayed"]
    assert retry.json()["partial_failures"] == first.json()["partial_failures"]

    def stored() -> int:
        with closing(sqlite3.connect(server.data / "control.db")) as control:
            found = control.execute(
                "SELECT length(answer) FROM idempotency WHERE idempotency_key = ?", (call["idempotency_key"],)
            ).fetchone()
        return found[0] if found else 0

    assert eventually(stored, "a flush of the log") < len(first.content) / 30


def test_a_key_with_too_many_large_responses_is_served_and_no_more_are_stored(limited: Server) -> None:
    caller = with_own_key(limited)
    calls = [broken(*(f"{uuid4()}{uuid4()}{uuid4()}" for _ in range(30))) for _ in range(3)]
    answers = [caller.call("log_event", **call).raise_for_status().json() for call in calls]

    warnings = [answer["ext"]["postback"].get("warnings", []) for answer in answers]
    assert warnings[:2] == [[], []]
    assert "This response is not stored" in warnings[2][0]
    assert answers[2]["events_received"] == len(answers[2]["partial_failures"]) == 30


def test_metrics_are_for_whoever_has_the_token(limited: Server) -> None:
    with limited.client() as client:
        refused = client.get("/metrics")
        described = client.get("/openapi.json").json()["paths"]["/metrics"]["get"]["responses"]

    assert refused.status_code == 401
    assert "401" in described
    assert "POSTBACK_METRICS_TOKEN" in refused.json()["message"]
    assert metric(limited, "process_start_time_seconds") > 0


def test_a_body_that_goes_on_for_ever_after_its_refusal_is_cut_off(limited: Server) -> None:
    stranger = replace(limited, key="guess_at_a_key")
    start = head(stranger, 1_000).replace(b"Content-Length: 1000\r\nConnection: close", b"Transfer-Encoding: chunked")
    chunk = b"%x\r\n%b\r\n" % (len(_SPACES), _SPACES)
    with connect(stranger) as connection:
        connection.sendall(start)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401")

        with pytest.raises(ConnectionError):
            connection.sendall(200 * chunk)
