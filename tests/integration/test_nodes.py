"""Several servers share one PostgreSQL, and do together what one would do."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from sqlalchemy import create_engine, text
from tests.acceptance.conversions import call
from tests.acceptance.official import unique_key
from tests.conftest import eventually
from tests.integration import orders
from tests.integration.nodes import start_nodes
from tests.integration.test_idempotent_tasks import CALLS

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

IN_CONTROL = ("create_media_buy", "delivery", "sync_accounts", "sync_event_sources", "update_media_buy")
"""The tasks that are done once; what log_event and exposures do is the same when it is done twice."""

TIMES = 10


@pytest.fixture(scope="module")
def nodes(
    start_server: StartServer, new_postgresql: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> list[Server]:
    running = start_nodes(start_server, new_postgresql, tmp_path_factory.mktemp("nodes"), sandbox="true")
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
        assert answer | {"replayed": True} == done | {"replayed": True}
        return "replayed" in answer

    eventually(replayed)
    other = run(nodes[1], task, CALLS[task](nodes[0]) | {"idempotency_key": arguments["idempotency_key"]})
    assert other["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"


def test_a_call_whose_server_is_killed_in_the_middle_is_done_once_by_another(
    start_own_server: StartServer, new_postgresql: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = new_postgresql()
    killed, other = start_nodes(start_own_server, lambda: url, tmp_path_factory.mktemp("nodes"), sandbox="true")
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
    with engine.connect() as connection:
        stored = connection.scalars(text("SELECT media_buy_id FROM media_buy")).all()
    engine.dispose()

    assert bought["status"] == "completed", bought
    assert stored == [bought["media_buy_id"]]
