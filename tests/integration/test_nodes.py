"""Several servers share one PostgreSQL, and do together what one would do."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from sqlalchemy import create_engine, text
from tests.acceptance.conversions import call, log, order
from tests.acceptance.official import unique_key
from tests.conftest import eventually
from tests.integration import orders
from tests.integration.test_idempotent_tasks import CALLS
from tests.integration.upstream import Upstream

from postback.auth.console_keys import ConsoleKeys
from postback.forwarding.outbox import LEASE_SECONDS, Delivery, Outbox
from postback.store.control_store import ControlStore

if TYPE_CHECKING:
    from tests.clickhouse_server import ClickHouseServer
    from tests.conftest import Server, StartServer

IN_CONTROL = ("create_media_buy", "delivery", "sync_accounts", "sync_event_sources", "update_media_buy")
"""The tasks that are done once; what log_event and exposures do is the same when it is done twice."""

TIMES = 10


@pytest.fixture(scope="module")
def url(new_postgresql: Callable[[], str]) -> str:
    return new_postgresql()


@pytest.fixture(scope="module")
def start(
    start_server: StartServer,
    url: str,
    clickhouse: ClickHouseServer,
    crm: Upstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> StartServer:
    """Starts a server on the databases."""
    config = tmp_path_factory.mktemp("seller") / "seller.toml"
    config.write_text(crm.seller_config("server"))
    shared = {"control": url, "events": clickhouse.new_database(), "secret": secrets.token_hex(32)}
    return partial(start_server, **shared, sandbox="true", seller_config=config, validation_workers=0)


@pytest.fixture(scope="module")
def nodes(start: StartServer) -> list[Server]:
    running = [start(), start()]
    running[0].call("sync_event_sources", event_sources=orders.SOURCES).raise_for_status()
    return running


def run(node: Server, task: str, arguments: dict[str, Any]) -> Any:
    answer = call(node, "rest", task, arguments)
    answer.get("ext", {}).get("postback", {}).pop("request_id", None)
    return answer


def on_both(nodes: list[Server], task: str, *arguments: dict[str, Any]) -> list[Any]:
    """Make a call on every server at once, the same one or one each; returns the answers."""
    sent = arguments if len(arguments) > 1 else arguments * len(nodes)
    with ThreadPoolExecutor(len(nodes)) as pool:
        return list(pool.map(lambda node, given: run(node, task, given), nodes, sent))


@pytest.mark.parametrize("task", IN_CONTROL)
def test_of_the_same_call_made_on_both_servers_at_once_one_is_done(nodes: list[Server], task: str) -> None:
    for _ in range(TIMES):
        arguments = CALLS[task](nodes[0]) | {"idempotency_key": unique_key()}

        answers = on_both(nodes, task, arguments)

        assert {answer["status"] for answer in answers} == {"completed"}, answers
        (done,) = (answer for answer in answers if "replayed" not in answer)
        assert [answer for answer in answers if "replayed" in answer] == [done | {"replayed": True}]


def test_of_two_orders_under_one_id_of_the_buyers_each_caller_gets_the_one_that_was_made(nodes: list[Server]) -> None:
    for _ in range(TIMES):
        ext = {"postback": {"media_buy_id": unique_key()}}
        arguments = orders.order(name=unique_key(), ext=ext, idempotency_key=unique_key())

        answers = on_both(nodes, "create_media_buy", arguments)

        assert {answer["status"] for answer in answers} == {"completed"}, answers
        assert sorted("replayed" in answer for answer in answers) == [False, True]


@pytest.mark.parametrize("task", IN_CONTROL)
def test_of_different_calls_under_one_key_on_both_servers_one_is_refused(nodes: list[Server], task: str) -> None:
    key = {"idempotency_key": unique_key()}

    answers = on_both(nodes, task, CALLS[task](nodes[0]) | key, CALLS[task](nodes[0]) | key)

    assert sorted(answer["status"] for answer in answers) == ["completed", "failed"], answers
    (refused,) = (answer for answer in answers if answer["status"] == "failed")
    assert refused["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize("task", ["log_event", "exposures"])
def test_a_call_that_wrote_events_is_replayed_by_another_server_once_they_are_stored(
    nodes: list[Server], task: str
) -> None:
    arguments = CALLS[task](nodes[0]) | {"idempotency_key": unique_key()}
    done = run(nodes[0], task, arguments)

    def replayed() -> Any:
        answer = run(nodes[1], task, arguments)
        assert answer["status"] == done["status"] == "completed"
        return answer == done | {"replayed": True}

    eventually(replayed)
    other = run(nodes[1], task, CALLS[task](nodes[0]) | {"idempotency_key": arguments["idempotency_key"]})
    assert other["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"


def test_a_call_whose_server_is_killed_in_the_middle_is_done_once_by_another(
    nodes: list[Server], start: StartServer, url: str
) -> None:
    killed, other = nodes
    arguments = orders.order(name="in the middle")
    engine = create_engine(url)

    def waiting() -> Any:
        with engine.connect() as looking:
            return looking.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

    def lost() -> None:
        with suppress(httpx2.TransportError):
            call(killed, "rest", "create_media_buy", arguments)

    with ThreadPoolExecutor(2) as pool, engine.connect() as connection:
        connection.execute(text("SELECT 1 FROM account WHERE account_id = 'default' FOR UPDATE"))
        first = pool.submit(lost)
        eventually(waiting, "the order's transaction")
        os.kill(killed.process.pid, signal.SIGKILL)
        first.result()
        second = pool.submit(call, other, "rest", "create_media_buy", arguments)
        connection.rollback()
        bought = second.result()
    engine.dispose()
    nodes[0] = start(data=killed.data)

    assert bought["status"] == "completed", bought
    found = [buy for buy in orders.found_on_all_pages(nodes[0]) if buy.get("name") == "in the middle"]
    assert [buy["media_buy_id"] for buy in found] == [bought["media_buy_id"]]


def test_a_server_that_was_removed_stops_and_a_command_lists_who_is_left(
    nodes: list[Server], start: StartServer, url: str
) -> None:
    removed, other = nodes[1], nodes[0]

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        run = [sys.executable, "-m", "postback", "nodes", *arguments]
        environ = os.environ | {"POSTBACK_CONTROL": url, "POSTBACK_DATA": str(other.data)}
        return subprocess.run(run, env=environ, capture_output=True, text=True, check=False)

    (number,) = (line.split()[0] for line in command("list").stdout.splitlines() if str(removed.data) in line)
    refused = command("remove", number)
    done = command("remove", number, "--yes")

    assert (refused.returncode, done.stdout) == (2, f"Node {number} is removed.\n")
    assert removed.process.wait(timeout=120) == 0
    assert "It stops. Give each server a data folder of its own." in removed.log.read_text()
    assert str(removed.data) not in command("list").stdout
    assert str(other.data) in command("list").stdout
    nodes[1] = start(data=removed.data)


def test_each_of_many_deliveries_is_sent_once_by_two_servers(nodes: list[Server], url: str, crm: Upstream) -> None:
    def nothing_waits() -> bool:
        with closing(ControlStore(url)) as control:
            return not Outbox(control).listed()

    eventually(nothing_waits)
    opened = Event()
    crm.received.clear()
    crm.holds = lambda _body: not opened.wait()

    for number in range(31):
        log(nodes[0], "server", order(f"forwarded_{number}"))
    eventually(lambda: len(crm.requests) == 8, "the first four requests of each server")
    opened.set()
    eventually(nothing_waits)

    assert len(crm.requests) == 31
    assert crm.event_ids() == {f"forwarded_{number}" for number in range(31)}


def test_what_a_killed_server_was_sending_goes_to_another_when_its_lease_has_ended(url: str) -> None:
    with closing(ControlStore(url)) as control:
        control.migrate()
        outbox = Outbox(control)
        outbox.put([Delivery(f"delivery_{number}", "shop", "default", "website", "key", 1) for number in range(3)])

        taken = outbox.take("shop", 2)
        other = outbox.take("shop", 2)
        nothing, wait = outbox.take("shop", 2), outbox.next_attempt("shop")
        with control.begin() as connection:
            connection.execute(text(f"UPDATE forward SET leased_until = leased_until - {LEASE_SECONDS}"))
        again = outbox.take("shop", 3)
        outbox.delivered(again)

    assert [len(taken), len(other), len(nothing)] == [2, 1, 0]
    assert wait
    assert wait > LEASE_SECONDS / 2
    assert again == [*taken, *other]


def test_the_console_of_one_shows_all_of_them(nodes: list[Server], url: str) -> None:
    with closing(ControlStore(url)) as control:
        headers = {"Authorization": f"Bearer {ConsoleKeys(control).create('')[1]}"}
    shown = []
    for node in nodes:
        with node.client(**headers) as client:
            shown.append(client.get("/console/server?format=json").json()["operation"]["nodes"])

    assert [[(found["number"], found["this"]) for found in page] for page in shown] == [
        [(0, True), (1, False)],
        [(0, False), (1, True)],
    ]
