"""Accepted events go on to the seller's own system, at least once, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import call, error_of, log, order
from tests.acceptance.official import refuse_unless_valid, unique_key
from tests.conftest import free_port
from tests.integration.upstream import Upstream, upstream

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

Start = Callable[..., "Server"]


@pytest.fixture
def crm() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture
def forwarding(start_own_server: StartServer, tmp_path: Path) -> Start:
    """Starts a server that forwards the events of ``website`` to these URLs."""

    def start(*urls: str, more: str = "", private: bool = True, **settings: Any) -> Server:
        config = tmp_path / "seller.toml"
        config.write_text(
            "".join(
                f'[[forwards]]\nname = "crm{number or ""}"\nevent_source_id = "website"\nurl = "{url}"\n'
                f"allow_private = {str(private).lower()}\n{more}\n"
                for number, url in enumerate(urls)
            )
        )
        server = start_own_server(seller_config=config, **settings)
        sources = [{"event_source_id": "website"}, {"event_source_id": "elsewhere"}]
        call(server, "rest", "sync_event_sources", {"event_sources": sources})
        return server

    return start


def eventually(happened: Callable[[], Any], what: str = "it") -> Any:
    for _ in range(300):
        if result := happened():
            return result
        time.sleep(0.05)
    pytest.fail(f"{what} did not happen")


def nothing_waits(server: Server) -> bool:
    return len(server.command("forwards", "list").splitlines()) == 1


def the_dead(server: Server) -> list[str]:
    return server.command("forwards", "list", "--dead").splitlines()[1:]


def test_accepted_events_arrive_in_the_shape_of_adcp(forwarding: Start, crm: Upstream) -> None:
    server = forwarding(crm.url, more='headers = { X-Team = "ads" }')

    log(server, "website", order("good_1"), order("bad", event_time="never"), order("good_2"))
    log(server, "website", order("trial"), test_event_code="T1")
    log(server, "elsewhere", order("unforwarded"))

    eventually(lambda: nothing_waits(server) and crm.requests)
    (request,) = crm.requests
    assert [event["event_id"] for event in request["body"]["events"]] == ["good_1", "good_2"]
    assert request["body"]["event_source_id"] == "website"
    assert request["body"]["idempotency_key"] == request["headers"]["Idempotency-Key"]
    assert request["headers"]["X-Team"] == "ads"
    with server.client() as client:
        metrics = client.get("/metrics").text
    assert 'postback_forwarded_events_total{destination="crm",outcome="delivered"} 2.0' in metrics


def test_a_template_makes_the_body_one_event_a_request(forwarding: Start, crm: Upstream) -> None:
    written = "{{ event.event_id | tojson }}", "{{ event.custom_data.value | tojson }}"
    server = forwarding(crm.url, more=f'template = \'{{"order": {written[0]}, "total": {written[1]}}}\'')
    crm.answers = [(200, {}), (503, {})]

    log(server, "website", order("a"), order("b"))

    eventually(lambda: nothing_waits(server) and len(crm.requests) == 3)
    assert [request["body"] for request in crm.requests] == [
        {"order": name, "total": 149.99} for name in ("a", "b", "b")
    ]
    keys = [request["headers"]["Idempotency-Key"] for request in crm.requests]
    assert keys[1] == keys[2] != keys[0]


@pytest.mark.parametrize("answer", [(503, {}), (429, {"Retry-After": "1"})])
def test_a_refusal_that_may_pass_is_tried_again_with_the_same_key(
    forwarding: Start, crm: Upstream, answer: tuple[int, dict[str, str]]
) -> None:
    server = forwarding(crm.url)
    crm.answers = [answer]

    log(server, "website", order("late"))

    eventually(lambda: crm.event_ids() == {"late"})
    first, second = crm.requests
    assert first["headers"]["Idempotency-Key"] == second["headers"]["Idempotency-Key"]


@pytest.mark.parametrize("answer", [(400, {}), (307, {"Location": "http://127.0.0.1:9/"})])
def test_a_refusal_that_stays_is_kept_for_the_operator(
    forwarding: Start, crm: Upstream, answer: tuple[int, dict[str, str]]
) -> None:
    server = forwarding(crm.url)
    crm.answers = [answer]
    log(server, "website", order("refused"))

    dead = eventually(lambda: the_dead(server))

    assert f"it answered {answer[0]}" in dead[0]
    assert server.command("forwards", "replay", dead[0].split()[0]) == "1 parcels will be tried again."
    eventually(lambda: crm.event_ids() == {"refused"})
    eventually(lambda: nothing_waits(server))


def test_the_sellers_own_network_is_out_of_reach(forwarding: Start) -> None:
    server = forwarding(f"https://localhost:{free_port()}/", private=False)

    log(server, "website", order("inward"))

    dead = eventually(lambda: the_dead(server))
    assert "its address is private" in dead[0]
    assert server.command("forwards", "drop", dead[0].split()[0]).startswith("Dropped")
    assert nothing_waits(server)


def test_a_destination_that_is_away_does_not_hold_up_another(forwarding: Start, crm: Upstream) -> None:
    server = forwarding(f"http://127.0.0.1:{free_port()}/", crm.url)

    log(server, "website", order("to_both"))

    eventually(lambda: crm.event_ids() == {"to_both"})
    eventually(lambda: "no answer (ConnectError)" in server.command("forwards", "list"))


def test_what_was_acknowledged_arrives_after_a_kill(forwarding: Start) -> None:
    port = free_port()
    server = forwarding(f"http://127.0.0.1:{port}/take")
    answers = [log(server, "website", order(f"kept_{number}")) for number in range(20)]
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    stored = b"".join(path.read_bytes() for path in server.data.glob("control.db*"))
    with upstream(port) as crm:
        again = forwarding(f"http://127.0.0.1:{port}/take", data=server.data)
        eventually(lambda: len(crm.event_ids()) == 20, "delivery")
        eventually(lambda: nothing_waits(again))

    assert [answer["events_processed"] for answer in answers] == [1] * 20
    assert order("any")["user_match"]["hashed_email"].encode() not in stored
    assert b"kept_7" not in stored


def test_nothing_of_people_is_left_after_delivery(forwarding: Start, crm: Upstream) -> None:
    server = forwarding(crm.url)
    log(server, "website", order("gone"))
    eventually(lambda: nothing_waits(server) and crm.requests)

    with sqlite3.connect(server.data / "control.db") as connection:
        (count,) = connection.execute("SELECT count(*) FROM forward").fetchone()
    connection.close()

    assert count == 0


def test_a_sandbox_tells_what_it_really_sent(forwarding: Start, crm: Upstream) -> None:
    server = forwarding(crm.url, sandbox="true")
    log(server, "website", order("seen"))

    def query(**params: Any) -> dict[str, Any]:
        arguments = {"scenario": "query_upstream_traffic", "params": params, "adcp_version": "3.2"}
        answer = call(server, "rest", "comply_test_controller", arguments | {"idempotency_key": unique_key()})
        refuse_unless_valid("comply_test_controller", answer, "3.2")
        return answer

    eventually(lambda: query()["recorded_calls"])
    raw = query(endpoint_pattern="POST *")
    digest = query(attestation_mode="digest", identifier_value_digests=["0" * 64])

    assert raw["recorded_calls"][0]["payload"]["events"][0]["event_id"] == "seen"
    assert raw["recorded_calls"][0]["status_code"] == 200
    assert digest["recorded_calls"][0]["identifier_match_proofs"] == [
        {"identifier_value_sha256": "0" * 64, "found": False}
    ]
    assert query(endpoint_pattern="GET *")["total_count"] == 0


def test_a_sandbox_without_destinations_has_nothing_to_tell(seller: Server) -> None:
    answer = call(seller, "rest", "comply_test_controller", {"scenario": "query_upstream_traffic"})

    assert answer["error"] == "UNKNOWN_SCENARIO"


def test_a_batch_of_which_nothing_was_accepted_is_not_forwarded(forwarding: Start, crm: Upstream) -> None:
    server = forwarding(crm.url)

    assert error_of(log(server, "website"))["code"] == "INVALID_REQUEST"
    assert log(server, "website", order("bad", event_time="never"))["events_processed"] == 0

    assert nothing_waits(server)
    assert crm.requests == []
