"""Three servers on one PostgreSQL and one ClickHouse do together what one would: nothing is lost or counted twice."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text
from tests.acceptance.conversions import call, log, order
from tests.acceptance.official import unique_key
from tests.acceptance.test_closed_loop import SOURCE, bought, delivery, exposure, person, report
from tests.conftest import eventually, free_port

from postback.store.leases import LEASE_SECONDS
from postback.store.nodes import GONE_SECONDS

if TYPE_CHECKING:
    from tests.clickhouse_server import ClickHouseServer
    from tests.conftest import Server, StartServer

SERVERS = 3
PEOPLE = 20
"""How many click and buy on each server."""


@pytest.fixture(scope="module")
def url(new_postgresql: Callable[[], str]) -> str:
    return new_postgresql()


@pytest.fixture(scope="module")
def start(start_server: StartServer, url: str, clickhouse: ClickHouseServer) -> StartServer:
    """Starts a server on the two databases."""
    shared = {"control": url, "events": clickhouse.new_database(), "secret": secrets.token_hex(32)}
    return partial(start_server, **shared, sandbox="true", validation_workers=0)


@pytest.fixture(scope="module")
def cluster(start: StartServer) -> list[Server]:
    """Servers that started for the first time, and at once."""
    ports = [free_port() for _ in range(SERVERS)]
    with ThreadPoolExecutor(SERVERS) as pool:
        running = list(pool.map(lambda port: start(port=port), ports))
    running[0].call("sync_event_sources", event_sources=[SOURCE]).raise_for_status()
    return running


def reports(server: Server, buy: tuple[str, list[str]], conversions: int) -> bool:
    """Whether a server's report has come to so many conversions."""
    return bool(delivery(server, buy[0])["totals"].get("conversions", 0) >= conversions)


def explains(server: Server, event_id: str) -> bool:
    """Whether a server says which exposure an order is attributed to."""
    with server.client() as client:
        found = client.get(f"/v1/events/shop/purchase/{event_id}").json()
    return bool(found.get("attribution", {}).get("status") == "attributed")


def test_servers_that_started_at_once_are_one_installation(cluster: list[Server], url: str) -> None:
    for server in cluster:
        accounts = call(server, "rest", "list_accounts", {})["accounts"]
        assert "default" in {account["account_id"] for account in accounts}
    engine = create_engine(url)
    with engine.connect() as connection:
        numbers = connection.scalars(text("SELECT number FROM node ORDER BY number")).all()
        installations = connection.scalar(text("SELECT count(*) FROM installation"))
    engine.dispose()

    assert numbers == [0, 1, 2]
    assert installations == 1


def test_every_click_and_order_counts_once_whatever_server_takes_it(cluster: list[Server]) -> None:
    buy, name = bought(cluster[0]), unique_key()

    def take(number: int) -> None:
        clicks, orders = cluster[number], cluster[(number + 1) % SERVERS]
        people = [f"{name}_{number}_{n}" for n in range(PEOPLE)]
        report(clicks, *(exposure(who, buy, user_match=person(who)) for who in people))
        bought_by = [
            order(who, user_match=person(who), custom_data={"value": 1.5, "currency": "USD"}) for who in people
        ]
        log(orders, "shop", *bought_by)
        log(cluster[number], "shop", *bought_by)  # copies, which go elsewhere

    with ThreadPoolExecutor(SERVERS) as pool:
        list(pool.map(take, range(SERVERS)))
    wanted = SERVERS * PEOPLE
    for server in cluster:
        eventually(partial(reports, server, buy, wanted), "the conversions")

    for server in cluster:
        totals = delivery(server, buy[0])["totals"]
        assert (totals["clicks"], totals["conversions"], totals["conversion_value"]) == (wanted, wanted, 1.5 * wanted)


def test_every_server_explains_what_one_of_them_attributed(cluster: list[Server]) -> None:
    buy, name = bought(cluster[0]), unique_key()
    report(cluster[1], exposure(name, buy, user_match=person(name)))
    log(cluster[2], "shop", order(name, user_match=person(name)))

    for server in cluster:
        eventually(partial(explains, server, name), "the explanation")


def test_another_server_goes_on_when_the_one_that_attributes_is_killed(
    cluster: list[Server], start: StartServer, url: str
) -> None:
    buy, name = bought(cluster[0]), unique_key()
    engine = create_engine(url)
    report(cluster[0], exposure(name, buy, user_match=person(name)))
    log(cluster[0], "shop", order(f"{name}_before", user_match=person(name)))
    eventually(partial(reports, cluster[0], buy, 1), "the order before the kill")
    with engine.connect() as connection:
        before = connection.execute(text("SELECT holder FROM lease WHERE name = 'attribution'")).scalar()

    killed = cluster[0]
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    log(cluster[1], "shop", order(f"{name}_after", user_match=person(name)))
    with engine.begin() as connection:  # as if it had been silent for as long as a server that is gone
        silent = text("UPDATE node SET seen_at = seen_at - :seconds WHERE place LIKE :place")
        connection.execute(silent, {"seconds": GONE_SECONDS, "place": f"%{killed.data}"})
    with cluster[1].client() as client:
        eventually(lambda: "attribution waits for what it received" in client.get("/readyz").text, "the warning")
        eventually(lambda: "postback_silent_nodes 1.0" in client.get("/metrics").text, "the metric")
    cluster[0] = start(data=killed.data)
    with engine.begin() as connection:  # as if its lease had ended, if it was the killed one's
        ended = text("UPDATE lease SET held_until = held_until - :seconds WHERE holder = :holder")
        connection.execute(ended, {"seconds": LEASE_SECONDS, "holder": before})
    engine.dispose()

    for server in cluster:
        eventually(partial(reports, server, buy, 2), "the order after the kill")
        assert delivery(server, buy[0])["totals"]["conversions"] == 2
