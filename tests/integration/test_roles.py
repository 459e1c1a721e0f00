"""Servers that share the work by POSTBACK_ROLE: one takes calls, another attributes and forwards."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import log, order
from tests.acceptance.official import unique_key
from tests.acceptance.test_closed_loop import SOURCE, delivery, exposure, person, report
from tests.conftest import eventually
from tests.integration import orders
from tests.integration.upstream import Upstream

from postback.config import load_settings
from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.nodes import list_nodes

if TYPE_CHECKING:
    from tests.clickhouse_server import ClickHouseServer
    from tests.conftest import Server, StartServer

GOAL = orders.goal({"event_source_id": "shop", "event_type": "purchase", "value_field": "value"})
ENDED = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-02-01T00:00:00Z"}


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
    """Starts a server on the two databases."""
    config = tmp_path_factory.mktemp("seller") / "seller.toml"
    config.write_text(crm.seller_config("shop"))
    shared = {"control": url, "events": clickhouse.new_database(), "secret": secrets.token_hex(32)}
    return partial(start_server, **shared, sandbox="true", seller_config=config, validation_workers=0)


def ready(server: Server) -> dict[str, Any]:
    with server.client() as client:
        return dict(client.get("/readyz").json())


def test_one_server_takes_calls_and_another_does_the_work(start: StartServer, url: str, crm: Upstream) -> None:
    taker = start(role="ingest")
    taker.call("sync_event_sources", event_sources=[SOURCE]).raise_for_status()
    ext = {"postback": {"media_buy_id": unique_key()}}
    bought = orders.buy(taker, orders.package(GOAL), **ENDED, ext=ext)
    buy = bought["media_buy_id"], [bought["packages"][0]["package_id"]]
    then = {"user_match": person("ada"), "occurred_at": "2026-01-15T14:30:00Z"}
    report(taker, exposure("click", buy, **then))
    log(taker, "shop", order("now", user_match=person("ada")))
    assert ready(taker)["warning"].startswith("No server attributes")
    assert not crm.requests

    worker = start(role="work")

    period = {"start_date": "2026-01-01", "end_date": "2026-02-01"}
    eventually(lambda: delivery(taker, buy[0], **period)["totals"].get("clicks") == 1, "the click's report")
    eventually(lambda: crm.event_ids() == {"now"}, "the delivery")
    eventually(lambda: "warning" not in ready(taker), "that all is well")
    with taker.client() as client:
        final = client.post(f"/v1/media-buys/{buy[0]}/packages/{buy[1][0]}/finalize").json()
    assert final["is_final"], final
    assert delivery(taker, buy[0], **period)["is_final"]
    with worker.client() as client:
        assert client.post("/v1/log_event", json={}).status_code == 404
        assert client.get("/metrics").status_code == 200
    with closing(ControlStore(url)) as control:
        eventually(lambda: list_nodes(control)[1].stored_through is None, "that the worker holds nothing up")
        assert [node.role for node in list_nodes(control)] == ["ingest", "work"]


@pytest.mark.parametrize("missing", ["POSTBACK_CONTROL", "POSTBACK_EVENTS"])
def test_a_server_that_has_a_store_to_itself_does_everything(missing: str) -> None:
    shared = {"POSTBACK_CONTROL": "postgresql://u:p@host/db", "POSTBACK_EVENTS": "clickhouse://u:p@host:8123/db"}

    with pytest.raises(StartupError, match="POSTBACK_ROLE is work, but a server that has its stores to itself"):
        load_settings({**shared, missing: "", "POSTBACK_ROLE": "work"})
