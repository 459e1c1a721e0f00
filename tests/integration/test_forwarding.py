"""Accepted events go on to the seller's own system, at least once, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import call, error_of, log, order
from tests.acceptance.official import refuse_unless_valid, unique_key
from tests.conftest import eventually, free_port
from tests.integration.upstream import Upstream, upstream
from tests.metrics import samples

from postback.forwarding.outbox import Delivery, Outbox
from postback.store.control_store import ControlStore

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

Start = Callable[..., "Server"]
TEMPLATE = """template = '{"order": {{ event.event_id | tojson }}, "total": {{ event.custom_data.value | tojson }}}'"""


@pytest.fixture
def crm() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture
def hanging() -> Iterator[Upstream]:
    """One that answers nothing, so that what is sent to it is due again when the server starts again."""
    with upstream() as running:
        running.holds = lambda _body: True
        yield running


@pytest.fixture
def forwarding(start_own_server: StartServer, tmp_path: Path) -> Start:
    """Starts a server that forwards the events of ``website`` to these URLs."""
    return partial(started, start_own_server, tmp_path)


@pytest.fixture(scope="module")
def forwarder(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Upstream]]:
    """A server that forwards events of ``website`` as they are and of ``shop`` by a template, and where to."""
    with upstream() as crm:
        more = 'headers = { X-Team = "ads" }\n[[forwards]]\nname = "by_template"\nevent_source_id = "shop"\n'
        more += f'url = "{crm.url}"\nallow_private = true\n{TEMPLATE}'
        yield started(start_server, tmp_path_factory.mktemp("seller"), crm.url, more=more), crm


@pytest.fixture
def shared(forwarder: tuple[Server, Upstream]) -> tuple[Server, Upstream]:
    """The same, when nothing is left of an earlier test."""
    server, crm = forwarder
    eventually(lambda: nothing_waits(server))
    crm.received.clear()
    crm.answers, crm.body = [], ()
    return forwarder


@pytest.fixture(scope="module")
def sandbox(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A sandbox that forwards the events of ``website`` to a URL with a secret."""
    with upstream() as crm:
        yield started(start_server, tmp_path_factory.mktemp("seller"), f"{crm.url}?key=opensesame", sandbox="true")


def started(
    start: StartServer, folder: Path, *urls: str, more: str = "", private: bool = True, **settings: Any
) -> Server:
    config = folder / "seller.toml"
    config.write_text(
        "".join(
            f'[[forwards]]\nname = "crm{number or ""}"\nevent_source_id = "website"\nurl = "{url}"\n'
            f"allow_private = {str(private).lower()}\n{more}\n"
            for number, url in enumerate(urls)
        )
    )
    server = start(seller_config=config, **settings)
    sources = [{"event_source_id": name} for name in ("website", "shop", "elsewhere")]
    call(server, "rest", "sync_event_sources", {"event_sources": sources})
    return server


def deliveries(server: Server, dead: bool | None = None) -> list[Delivery]:
    store = ControlStore(f"sqlite:///{server.data}/control.db")
    try:
        return Outbox(store).listed(dead)
    finally:
        store.close()


def nothing_waits(server: Server) -> bool:
    return not deliveries(server)


def test_accepted_events_arrive_in_the_shape_of_adcp(shared: tuple[Server, Upstream]) -> None:
    server, crm = shared
    destination = {"destination": "crm", "outcome": "delivered"}

    def delivered() -> float:
        return sum(value for _, value in samples(server, "postback_forwarding_events_total", **destination))

    before = delivered()
    log(server, "website", order("good_1"), order("bad", event_time="never"), order("good_2"))
    log(server, "website", order("trial"), test_event_code="T1")
    log(server, "elsewhere", order("unforwarded"))

    eventually(lambda: nothing_waits(server) and crm.requests)
    (request,) = crm.requests
    assert [event["event_id"] for event in request["body"]["events"]] == ["good_1", "good_2"]
    assert request["body"]["event_source_id"] == "website"
    assert request["body"]["idempotency_key"] == request["headers"]["Idempotency-Key"]
    assert request["headers"]["X-Team"] == "ads"
    assert delivered() == before + 2


def test_what_a_source_is_goes_on_too(forwarding: Start, crm: Upstream) -> None:
    server = forwarding(crm.url)
    entries = [{"event_source_id": "website", "name": "Shop"}, {"event_source_id": "website"}, {"event_source_id": "x"}]

    call(server, "rest", "sync_event_sources", {"event_sources": entries})

    eventually(lambda: len(crm.declarations) == 2)
    eventually(lambda: nothing_waits(server))
    said = [request["body"] for request in crm.declarations]
    assert [body["event_sources"] for body in said] == [[{"event_source_id": "website"}], entries[:1]]
    assert said[0]["account"] == {"account_id": "default"}
    assert said[0]["idempotency_key"] != said[1]["idempotency_key"]


def test_a_template_makes_the_body_one_event_a_request(shared: tuple[Server, Upstream]) -> None:
    server, crm = shared
    crm.answers = [(503, {})]

    log(server, "shop", order("a"), order("b"))

    eventually(lambda: nothing_waits(server) and len(crm.requests) == 3)
    assert all(request["body"]["total"] == 149.99 for request in crm.received)
    assert {request["body"]["order"] for request in crm.requests if request["status"] == 200} == {"a", "b"}
    keys = {(request["body"]["order"], request["headers"]["Idempotency-Key"]) for request in crm.requests}
    assert len(keys) == 2


def test_an_event_that_is_refused_holds_up_no_other(shared: tuple[Server, Upstream]) -> None:
    server, crm = shared
    crm.answers = [(200, {}), (200, {}), (200, {}), (400, {})]

    log(server, "shop", *(order(f"event_{number}") for number in range(10)))

    eventually(lambda: len(crm.requests) == 10)
    (dead,) = eventually(lambda: deliveries(server, dead=True))
    assert dead.error == "HTTP 400"
    server.command("forwards", "replay", "--all")
    eventually(lambda: nothing_waits(server))
    taken = [request["body"]["order"] for request in crm.requests if request["status"] == 200]
    assert sorted(taken) == [f"event_{number}" for number in range(10)]


def test_what_waited_in_another_shape_goes_by_the_template_of_today(
    forwarding: Start, hanging: Upstream, crm: Upstream
) -> None:
    first = forwarding(hanging.url)
    log(first, "website", order("a"), order("b"))
    first.stop()
    again = forwarding(crm.url, more=TEMPLATE, data=first.data)
    eventually(lambda: nothing_waits(again))

    assert {request["body"]["order"] for request in crm.requests} == {"a", "b"}


def test_an_endless_answer_is_an_answer(shared: tuple[Server, Upstream]) -> None:
    server, crm = shared
    crm.body = (b"x" * 65_536 for _ in count())
    crm.answers = [(200, {"Content-Length": str(10**12)})]

    log(server, "website", order("endless"))

    eventually(lambda: nothing_waits(server) and crm.requests)
    assert len(crm.requests) == 1


def test_a_refusal_that_may_pass_is_tried_again_with_the_same_key(shared: tuple[Server, Upstream]) -> None:
    server, crm = shared
    crm.answers = [(503, {}), (429, {"Retry-After": "1"})]

    log(server, "website", order("late"))

    eventually(lambda: crm.event_ids() == {"late"})
    assert len(crm.requests) == 3
    assert len({request["headers"]["Idempotency-Key"] for request in crm.requests}) == 1


def test_a_refusal_that_stays_is_kept_for_the_operator(shared: tuple[Server, Upstream]) -> None:
    server, crm = shared
    crm.answers = [(400, {}), (307, {"Location": "http://127.0.0.1:9/"})]
    log(server, "website", order("refused"))
    log(server, "website", order("redirected"))

    dead = eventually(lambda: len(deliveries(server, dead=True)) == 2 and deliveries(server))

    assert {delivery.error for delivery in dead} == {"HTTP 400", "HTTP 307"}
    assert f"dead   {dead[0].error}" in server.command("forwards", "list", "--dead")
    assert server.command("forwards", "replay", dead[0].delivery_id) == "Deliveries that will be sent again: 1."
    assert server.command("forwards", "replay", "--all") == "Deliveries that will be sent again: 1."
    eventually(lambda: crm.event_ids() == {"refused", "redirected"})
    eventually(lambda: nothing_waits(server))


def test_the_sellers_own_network_is_out_of_reach(forwarding: Start) -> None:
    server = forwarding(f"https://localhost:{free_port()}/", private=False, sandbox="true")

    log(server, "website", order("inward"))

    eventually(lambda: len(deliveries(server, dead=True)) == 2)
    assert all("the destination's address is private" in str(delivery.error) for delivery in deliveries(server))
    assert upstream_traffic(server)["total_count"] == 0
    assert server.command("forwards", "drop", "--all") == "Deliveries dropped: 2."
    assert nothing_waits(server)


def test_a_destination_that_is_away_does_not_hold_up_another(forwarding: Start, crm: Upstream) -> None:
    server = forwarding(f"http://127.0.0.1:{free_port()}/", crm.url)

    log(server, "website", order("to_both"))

    eventually(lambda: crm.event_ids() == {"to_both"})
    eventually(lambda: any(delivery.error == "no response (ConnectError)" for delivery in deliveries(server)))


def test_what_was_acknowledged_arrives_after_a_kill(forwarding: Start, hanging: Upstream, crm: Upstream) -> None:
    server = forwarding(hanging.url)
    answers = [log(server, "website", order(f"kept_{number}")) for number in range(20)]
    assert not nothing_waits(server)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    stored = b"".join(path.read_bytes() for path in server.data.glob("control.db*"))
    again = forwarding(crm.url, data=server.data)
    eventually(lambda: len(crm.event_ids()) == 20, "delivery")
    eventually(lambda: nothing_waits(again))

    assert [answer["events_processed"] for answer in answers] == [1] * 20
    assert order("any")["user_match"]["hashed_email"].encode() not in stored
    assert b"kept_7" not in stored


def test_a_kill_while_the_destination_hangs_sends_again_what_it_may_not_have_taken(forwarding: Start) -> None:
    port = free_port()
    url, names = f"http://127.0.0.1:{port}/take", {f"event_{number}" for number in range(40)}
    server = forwarding(f"http://127.0.0.1:{port}/take", more=TEMPLATE)
    with upstream(port) as crm:
        crm.holds = lambda _body: len(crm.requests) > 20
        log(server, "website", *map(order, names))
        eventually(lambda: len(crm.requests) > 20)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        assert len(crm.requests) < len(names), "everything was sent before the kill"
        crm.holds = lambda _body: False
        again = forwarding(url, more=TEMPLATE, data=server.data)
        eventually(lambda: nothing_waits(again))

    sent = [(request["body"]["order"], request["headers"]["Idempotency-Key"]) for request in crm.requests]
    assert {name for name, _ in sent} == names
    assert len(set(sent)) == 40
    assert len(sent) <= 44


def test_nothing_of_people_is_left_after_delivery(forwarding: Start) -> None:
    port = free_port()
    server = forwarding(f"http://127.0.0.1:{port}/take")
    log(server, "website", *(order(f"gone_{number}") for number in range(100)))
    eventually(lambda: [sent for sent in deliveries(server) if sent.events == 100 and sent.error], "an attempt")
    with closing(sqlite3.connect(server.data / "control.db")) as connection:
        (encrypted,) = connection.execute("SELECT encrypted FROM forward WHERE events = 100").fetchone()
    with upstream(port) as crm:
        eventually(lambda: nothing_waits(server))
        assert len(crm.event_ids()) == 100
    server.stop()

    stored = b"".join(path.read_bytes() for path in server.data.glob("control.db*"))
    pieces = [encrypted[at : at + 64] for at in range(0, len(encrypted) - 64, 64)]
    assert not any(piece in stored for piece in pieces)


def test_what_a_destination_left_behind_is_told_and_can_be_dropped(forwarding: Start, crm: Upstream) -> None:
    first = forwarding(f"http://127.0.0.1:{free_port()}/", crm.url)
    log(first, "website", order("orphan"))
    eventually(lambda: crm.requests and len(deliveries(first)) == 2, "the delivery to the other destination")
    first.stop()
    again = forwarding(data=first.data)

    assert "1 events are waiting for crm, which [[forwards]] no longer names" in again.log.read_text()
    assert again.command("forwards", "drop", "--destination", "crm") == "Deliveries dropped: 2."
    assert nothing_waits(again)


def upstream_traffic(server: Server, **params: Any) -> dict[str, Any]:
    arguments = {"scenario": "query_upstream_traffic", "params": params, "adcp_version": "3.2"}
    answer = call(server, "rest", "comply_test_controller", arguments | {"idempotency_key": unique_key()})
    refuse_unless_valid("comply_test_controller", answer, "3.2")
    return answer


def test_a_sandbox_tells_what_it_really_sent(sandbox: Server) -> None:
    email = order("any")["user_match"]["hashed_email"]
    digests = [sha256(text.encode()).hexdigest() for text in (email, "another")]
    declared = upstream_traffic(sandbox)["recorded_calls"]
    since = datetime.now(UTC).isoformat()

    log(sandbox, "website", order("seen"))
    (raw,) = upstream_traffic(sandbox, since_timestamp=since, endpoint_pattern="POST *")["recorded_calls"]
    asked = {"since_timestamp": since, "attestation_mode": "digest", "identifier_value_digests": digests}
    (digest,) = upstream_traffic(sandbox, **asked)["recorded_calls"]

    assert declared[0]["payload"]["event_sources"] == [{"event_source_id": "website"}]
    assert raw["payload"]["events"][0]["event_id"] == "seen"
    assert raw["status_code"] == 200
    assert [proof["found"] for proof in digest["identifier_match_proofs"]] == [True, False]
    assert digest["payload_length"] == raw["payload_length"]
    assert upstream_traffic(sandbox, endpoint_pattern="GET *")["total_count"] == 0
    assert upstream_traffic(sandbox, limit=1)["truncated"] is True


def test_a_sandbox_tells_a_caller_of_its_own_calls_only(sandbox: Server) -> None:
    log(sandbox, "website", order("theirs"))

    assert upstream_traffic(sandbox)["total_count"] >= 2
    assert upstream_traffic(replace(sandbox, key="demo-acme-outdoor-1"))["total_count"] == 0


def test_secrets_of_a_url_are_told_to_nobody(sandbox: Server) -> None:
    log(sandbox, "website", order("a", ext={"api_key": "opensesame"}))

    told = upstream_traffic(sandbox)

    assert told["recorded_calls"][-1]["url"].endswith("/take?key=%5Bredacted%5D")
    assert told["recorded_calls"][-1]["payload"]["events"][0]["ext"] == {"api_key": "[redacted]"}
    assert "opensesame" not in json.dumps(told) + sandbox.log.read_text()


def test_events_wait_in_postgresql_too(forwarding: Start, crm: Upstream, new_postgresql: Callable[[], str]) -> None:
    url = new_postgresql()
    server = forwarding(crm.url, more=TEMPLATE, control=url)
    crm.answers = [(503, {})] * 2

    log(server, "website", *(order(f"event_{number}") for number in range(5)))

    eventually(lambda: {r["body"]["order"] for r in crm.requests if r["status"] == 200} >= {"event_0", "event_4"})
    eventually(lambda: len([r for r in crm.requests if r["status"] == 200]) == 5)
    server.stop()
    store = ControlStore(url)
    assert Outbox(store).listed() == []
    store.close()


def test_a_sandbox_without_destinations_has_nothing_to_tell(seller: Server) -> None:
    answer = call(seller, "rest", "comply_test_controller", {"scenario": "query_upstream_traffic"})

    assert answer["error"] == "UNKNOWN_SCENARIO"


def test_a_batch_of_which_nothing_was_accepted_is_not_forwarded(forwarding: Start, crm: Upstream) -> None:
    server = forwarding(crm.url)

    assert error_of(log(server, "website"))["code"] == "INVALID_REQUEST"
    assert log(server, "website", order("bad", event_time="never"))["events_processed"] == 0

    server.stop()
    assert nothing_waits(server)
    assert crm.requests == []
