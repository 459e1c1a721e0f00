"""PostgreSQL goes away, in every way in which it can: known callers log on, and all of it is stored once."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from sqlalchemy import make_url, text
from tests.acceptance.conversions import call, order
from tests.acceptance.official import unique_key
from tests.clickhouse_server import ClickHouseServer
from tests.conftest import HTTP, eventually, free_port
from tests.fault_proxy import Fault, FaultProxy
from tests.faults.test_clickhouse_faults import Campaign
from tests.integration import orders

from postback.errors import StoreUnavailable
from postback.store import postgresql
from postback.store.control_store import ControlStore

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer


class Seller(NamedTuple):
    """A server whose PostgreSQL and ClickHouse are reached by proxies."""

    server: Server
    postgresql: FaultProxy
    clickhouse: FaultProxy
    stored: Callable[[], tuple[int, int]]


@pytest.fixture(scope="module")
def seller(
    start_server: StartServer, new_postgresql: Callable[[], str], clickhouse: ClickHouseServer
) -> Iterator[Seller]:
    url = make_url(new_postgresql())
    before_postgresql = FaultProxy(free_port(), Path(str(url.query["host"])) / ".s.PGSQL.5432")
    before_clickhouse = FaultProxy(free_port(), clickhouse.port)
    events = clickhouse.new_database(port=before_clickhouse.port)
    server = start_server(
        control=f"postgresql://postgres:@127.0.0.1:{before_postgresql.port}/{url.database}",
        events=events,
        secret=secrets.token_hex(32),
        sandbox="true",
        validation_workers=0,
    )
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()

    def stored() -> tuple[int, int]:
        """How many events are stored, and how many the health of their source counts."""
        query = "SELECT (SELECT count() FROM event FINAL), (SELECT sum(accepted) FROM source_activity)"
        found, counted = clickhouse.execute(query, events.rpartition("/")[2]).split()
        return int(found), int(counted)

    yield Seller(server, before_postgresql, before_clickhouse, stored)
    server.stop()
    before_postgresql.close()
    before_clickhouse.close()


def ready(server: Server) -> dict[str, Any]:
    with server.client() as client:
        return dict(client.get("/readyz").json())


def logged(server: Server, arguments: dict[str, Any]) -> dict[str, Any]:
    """The answer of log_event, without what differs between a call and its retry."""
    answer = call(server, "rest", "log_event", arguments)
    del answer["ext"]["postback"]["request_id"]
    return answer


def is_settled(seller: Seller, campaign: Campaign, before: tuple[int, int]) -> None:
    """Wait until everything is reported, and check that nothing is stored or counted twice."""
    eventually(lambda: "warning" not in ready(seller.server), "that all is well", pause=0.5)
    eventually(campaign.is_reported, "the report of all that was acknowledged", pause=0.5)
    campaign.sell(1)
    eventually(campaign.is_reported, "the report of what came afterwards", pause=0.5)
    assert seller.stored() == (before[0] + campaign.orders, before[1] + campaign.orders)


@pytest.mark.parametrize("fault", [Fault("refuse"), Fault("freeze")], ids=lambda fault: fault.kind)
def test_while_postgresql_is_away_known_callers_log_on(seller: Seller, fault: Fault) -> None:
    server, before, campaign = seller.server, seller.stored(), Campaign(seller.server)
    campaign.sell(1)
    with seller.postgresql.failing(fault):
        eventually(lambda: "PostgreSQL does not answer" in ready(server).get("warning", ""), "the warning")
        campaign.sell(3)
        repeated = {"event_source_id": "website", "events": [order(unique_key())], "idempotency_key": unique_key()}
        first, second = logged(server, repeated), logged(server, repeated)
        stranger = HTTP.post(f"{server.url}/v1/log_event", json={}, headers={"Authorization": "Bearer pb_stranger"})
        refused = server.call("create_media_buy", **orders.order(orders.package()))
        assert seller.postgresql.hits

    assert "replayed" not in first
    assert second == first | {"replayed": True}
    assert (stranger.status_code, refused.status_code) == (503, 503)
    is_settled(seller, campaign, (before[0] + 1, before[1] + 1))
    assert logged(server, repeated) == second


def test_what_a_machine_without_power_had_begun_is_ended_so_that_others_go_on(
    new_postgresql: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "IDLE_SECONDS", 1)
    url = new_postgresql()
    ended: list[ControlStore] = []

    def locks(store: ControlStore, then: Callable[[], None] = lambda: None) -> None:
        with store.begin() as connection:
            connection.execute(text("LOCK TABLE node"))
            then()
        ended.append(store)

    with closing(ControlStore(url)) as silent, closing(ControlStore(url)) as other:
        silent.migrate()
        with pytest.raises(StoreUnavailable):
            locks(silent, then=lambda: locks(other))  # while it says no other word
        assert ended == [other]
        locks(silent)


@pytest.mark.parametrize("kind", ["cut", "lose"])
def test_a_commit_whose_fate_is_not_known_is_made_once(seller: Seller, kind: Any) -> None:
    before, campaign = seller.stored(), Campaign(seller.server)
    campaign.sell(1)
    with seller.postgresql.failing(Fault(kind, only=b"idempotency", every=2)):
        for _ in range(4):
            repeated = {"event_source_id": "website", "events": [order(unique_key())], "idempotency_key": unique_key()}
            assert logged(seller.server, repeated)["events_processed"] == 1
        eventually(lambda: seller.postgresql.hits >= 2, "the fault")

    is_settled(seller, campaign, (before[0] + 4, before[1] + 4))


def test_while_clickhouse_is_frozen_events_are_taken(seller: Seller) -> None:
    """TEST_FROZEN_SECONDS=70 freezes it for longer than an insert waits."""
    before, campaign = seller.stored(), Campaign(seller.server)
    campaign.sell(1)
    with seller.clickhouse.failing(Fault("freeze")):
        campaign.sell(3)
        eventually(lambda: "ClickHouse" in ready(seller.server).get("warning", ""), "the warning")
        time.sleep(int(os.environ.get("TEST_FROZEN_SECONDS", "0")))
        assert seller.clickhouse.hits

    is_settled(seller, campaign, before)
