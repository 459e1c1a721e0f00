"""ClickHouse goes away, in every way in which it can: what was acknowledged is stored once, and counted once."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple

import pytest
from tests.acceptance.conversions import ago, order
from tests.acceptance.official import unique_key
from tests.clickhouse_server import ClickHouseServer
from tests.conftest import Server, StartServer, eventually, free_port
from tests.fault_proxy import Fault, FaultProxy
from tests.integration.orders import buy, goal, package

GOAL = goal({"event_source_id": "website", "event_type": "purchase", "value_field": "value"})
QUEUE = 10_000

FAULTS = [
    Fault("refuse"),
    Fault("busy"),
    Fault("cut", only=b"INSERT"),
    Fault("lose", only=b"INSERT"),
    Fault("lose", every=3),
    Fault("delay", seconds=0.2),
]


class Seller(NamedTuple):
    """A server whose events are on a ClickHouse of its own, which it reaches by a proxy."""

    server: Server
    clickhouse: ClickHouseServer
    proxy: FaultProxy
    database: str

    def events(self) -> tuple[int, int]:
        """How many events are stored, and how many the health of their source counts."""
        query = "SELECT (SELECT count() FROM event FINAL), (SELECT sum(accepted) FROM source_activity)"
        stored, counted = self.clickhouse.execute(query, self.database).split()
        return int(stored), int(counted)


@pytest.fixture(scope="module")
def seller(start_server: StartServer) -> Iterator[Seller]:
    clickhouse = ClickHouseServer(free_port())
    proxy = FaultProxy(free_port(), clickhouse.port)
    url = clickhouse.new_database(port=proxy.port)
    server = start_server(sandbox="true", events=url, queue_events=QUEUE)
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    yield Seller(server, clickhouse, proxy, url.rpartition("/")[2])
    server.stop()
    proxy.close()
    clickhouse.stop()


class Campaign:
    """A media buy, and what was acknowledged of the exposures and orders that belong to it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        bought = buy(server, package(GOAL))
        self._buy = {"media_buy_id": bought["media_buy_id"], "package_id": bought["packages"][0]["package_id"]}
        self._name, self._numbers = unique_key(), count()
        self.orders = 0
        self.value = Decimal(0)

    def sell(self, calls: int) -> None:
        """Report so many clicks and, in calls of their own, the three orders that follow each; all are acknowledged."""
        for _ in range(calls):
            person = f"{self._name}-{next(self._numbers)}"
            clicked = {"exposure_id": person, "kind": "click", "occurred_at": ago(hours=2), **self._buy}
            who = {"uids": [{"type": "rampid", "value": f"ramp-{person}"}]}
            answered(self.server, "exposures", exposures=[clicked | {"user_match": who}])
            data = {"value": 10.25, "currency": "USD"}
            orders = [order(f"{person}-{number}", user_match=who, custom_data=data) for number in range(3)]
            answered(self.server, "log_event", event_source_id="website", events=orders)
            self.orders += len(orders)
            self.value += len(orders) * Decimal("10.25")

    def report(self) -> tuple[int, int, Decimal] | None:
        """Clicks, conversions and value as reported; None while reports are not to be had."""
        response = self.server.call("get_media_buy_delivery", media_buy_ids=[self._buy["media_buy_id"]])
        if response.status_code == 503:
            return None
        [found] = response.json()["media_buy_deliveries"]
        totals = found["totals"]
        value = Decimal(str(totals.get("conversion_value", 0)))
        return totals.get("clicks", 0), totals.get("conversions", 0), value

    def is_reported(self) -> bool:
        """Whether everything that was acknowledged is reported."""
        return self.report() == (self.orders // 3, self.orders, self.value)


def answered(server: Server, task: str, **arguments: Any) -> dict[str, Any]:
    response = server.call(task, **arguments)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert not answer.get("partial_failures"), answer
    return answer


def is_settled(seller: Seller, campaign: Campaign, before: tuple[int, int]) -> None:
    """Wait until everything is reported, and check that nothing is stored or counted twice, a moment later as well."""
    eventually(campaign.is_reported, "the report of all that was acknowledged")
    stored, counted = before
    expected = stored + campaign.orders, counted + campaign.orders
    eventually(lambda: seller.events() == expected, f"{expected} events, {seller.events()}")
    campaign.sell(1)
    eventually(campaign.is_reported, "the report of what came afterwards")
    assert seller.events() == (expected[0] + 3, expected[1] + 3)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind} every {fault.every}")
def test_what_was_acknowledged_is_stored_and_counted_once(seller: Seller, fault: Fault) -> None:
    before, campaign = seller.events(), Campaign(seller.server)
    campaign.sell(2)

    with seller.proxy.failing(fault):
        campaign.sell(4)
        eventually(lambda: seller.proxy.hits >= 6, "the fault")

    is_settled(seller, campaign, before)


def test_a_clickhouse_that_is_killed_again_and_again_loses_nothing(seller: Seller) -> None:
    before, campaign = seller.events(), Campaign(seller.server)
    for _ in range(3):
        campaign.sell(2)
        seller.clickhouse.kill()
        campaign.sell(1)
        seller.clickhouse.start()

    is_settled(seller, campaign, before)


def test_while_clickhouse_is_away_events_are_taken_and_readers_are_told(seller: Seller) -> None:
    before, campaign = seller.events(), Campaign(seller.server)
    campaign.sell(1)
    eventually(campaign.is_reported, "the first report")
    seller.clickhouse.kill()
    try:
        campaign.sell(1)
        with seller.server.client() as client:
            ready = eventually(lambda: (r := client.get("/readyz").json()).get("warning") and r, "the warning")
            assert ready["status"] == "ok"
            assert "ClickHouse does not answer: events wait in the ingest log (" in ready["warning"]
            assert client.get("/healthz").status_code == 200
        refused = seller.server.call("get_media_buy_delivery")
        assert refused.status_code == 503
        assert refused.json()["adcp_error"]["code"] == "SERVICE_UNAVAILABLE"
    finally:
        seller.clickhouse.start()

    is_settled(seller, campaign, before)
    with seller.server.client() as client:
        eventually(lambda: client.get("/readyz").json() == {"status": "ok"}, "the end of the warning")


def test_a_log_that_is_full_refuses_and_takes_again(seller: Seller) -> None:
    before = seller.events()
    logged, refused = 0, None
    seller.clickhouse.kill()
    try:
        while refused is None:
            orders = [order(f"full-{logged + number}", custom_data={}) for number in range(1_000)]
            response = seller.server.call("log_event", event_source_id="website", events=orders)
            if response.status_code == 200:
                logged += 1_000
            else:
                refused = response
        with seller.server.client() as client:
            eventually(lambda: client.get("/readyz").status_code == 503, "a server that is not ready")
    finally:
        seller.clickhouse.start()

    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "1"
    assert QUEUE - 1_000 <= logged <= QUEUE
    expected = before[0] + logged, before[1] + logged
    eventually(lambda: seller.events() == expected, "the storing of all that was acknowledged")
    more = {"event_source_id": "website", "events": [order("full-after")]}
    eventually(lambda: seller.server.call("log_event", **more).status_code == 200, "a log with room")


def test_a_postback_that_is_killed_while_clickhouse_is_away_loses_nothing(
    start_server: StartServer, seller: Seller
) -> None:
    url = seller.clickhouse.new_database(port=seller.proxy.port)
    server = start_server(sandbox="true", events=url)
    own = seller._replace(server=server, database=url.rpartition("/")[2])
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    campaign = Campaign(server)
    with seller.proxy.failing(Fault("lose", only=b"INSERT")):
        campaign.sell(3)
        eventually(lambda: seller.proxy.hits >= 2, "the fault")
        server.process.kill()
        server.process.wait()
    restarted = start_server(sandbox="true", events=url, data=server.data, port=server.url.rpartition(":")[2])

    is_settled(own._replace(server=restarted), campaign, (0, 0))
    restarted.stop()
