"""A source falls silent: its media buys are impaired and the operator is told, once, until the source is back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import call
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid, schema_errors
from tests.conftest import eventually
from tests.engine import open_events
from tests.integration import orders
from tests.integration.orders import goal, package
from tests.integration.upstream import Upstream, upstream

from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore
from postback.store.tables import source_watch

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

MINUTE = timedelta(minutes=1)
SOURCES = [{"event_source_id": "website"}, {"event_source_id": "tills"}]


@pytest.fixture
def slack() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@contextmanager
def stores(data: Path) -> Iterator[tuple[EventStore, ControlStore]]:
    """The stores of a server that is stopped."""
    with (
        closing(open_events(data)) as events,
        closing(ControlStore(f"sqlite:///{data}/control.db")) as control,
    ):
        yield events, control


def send(events: EventStore, source: str, begin: datetime, end: datetime) -> None:
    """Store that events arrived in each minute."""
    events.deriver.command(
        "INSERT INTO source_activity (account_id, event_source_id, minute, accepted, rejected, quality, last_event_at)"
        " SELECT 'default', {source:String}, toStartOfMinute(toDateTime({begin:DateTime('UTC')}, 'UTC'))"
        " + INTERVAL number MINUTE AS at, 5, 0, 2.5, at FROM numbers({minutes:UInt64})",
        {"source": source, "begin": begin, "minutes": (end - begin) // MINUTE},
    )


def buy(server: Server) -> tuple[str, list[str]]:
    """A media buy whose packages count purchases of the website, of the tills, and of both."""
    sources = (["website"], ["tills"], ["website", "tills"])
    goals = [goal(*({"event_source_id": name, "event_type": "purchase"} for name in named)) for named in sources]
    answer = orders.buy(server, *(package(each, bid_price=4) for each in goals))
    return answer["media_buy_id"], [bought["package_id"] for bought in answer["packages"]]


def read(server: Server, release: str | None = "3.2") -> dict[str, Any]:
    """The media buy as get_media_buys shows it."""
    answer = call(server, "rest", "get_media_buys", {"adcp_version": release} if release else {})
    refuse_unless_valid("get_media_buys", answer, release)
    [found] = answer["media_buys"]
    return dict(found)


def impaired(server: Server) -> list[dict[str, Any]]:
    found = read(server)
    assert (found["health"] == "impaired") is bool(found["impairments"])
    return list(found["impairments"])


def health(server: Server, source: str) -> dict[str, Any]:
    answer = call(server, "rest", "sync_event_sources", {} | pinned("3.2"))
    return next(dict(s["health"]) for s in answer["event_sources"] if s["event_source_id"] == source)


def readiness(server: Server) -> dict[str, Any]:
    """How ready the account is for the first product; without an account none is shown."""
    request = {"buying_mode": "wholesale"} | pinned("3.2")
    alone = call(server, "rest", "get_products", request)
    assert "measurement_readiness" not in alone["products"][0]
    assert alone["cache_scope"] == "public"
    answer = call(server, "rest", "get_products", request | {"account": {"account_id": "default"}})
    refuse_unless_valid("get_products", answer, "3.2")
    assert answer["cache_scope"] == "account"
    return dict(answer["products"][0]["measurement_readiness"])


def test_a_source_that_falls_silent_impairs_its_media_buys_until_it_is_back(
    start_own_server: StartServer, tmp_path: Path, slack: Upstream
) -> None:
    config = tmp_path / "seller.toml"
    config.write_text(f'[[alerts]]\nname = "slack"\nurl = "{slack.url}"\nallow_private = true\n')
    start = partial(start_own_server, data=tmp_path / "data", sandbox="true", seller_config=config)
    server = start()
    call(server, "rest", "sync_event_sources", {"event_sources": SOURCES})
    media_buy_id, packages = buy(server)
    assert (read(server)["health"], read(server)["impairments"]) == ("ok", [])
    server.stop()
    now = datetime.now(UTC).replace(microsecond=0)
    silent_since = now - 40 * MINUTE
    with stores(server.data) as (events, control):
        send(events, "website", now - timedelta(weeks=7), silent_since)
        send(events, "tills", now - timedelta(weeks=7), now)
        with control.begin() as connection:
            connection.execute(
                source_watch.update().values(
                    since=int((now - timedelta(hours=3)).timestamp()), seen_at=int((now + MINUTE).timestamp())
                )
            )

    server = start()

    [website] = eventually(lambda: impaired(server), "an impairment")
    assert schema_errors("3.2", "core/impairment.json", website) == []
    assert website["impairment_id"].startswith("imp_")
    assert (website["resource_type"], website["resource_id"]) == ("event_source", "website")
    assert website["package_ids"] == [packages[0], packages[2]]
    assert (website["reason_code"], website["transition"]) == ("source_offline", {"from": "good", "to": "insufficient"})
    assert website["reason"].startswith(f"No event since {silent_since - MINUTE:%Y-%m-%d %H:%M} UTC; in this hour of")
    for release in DIALECTS:
        assert ("health" in read(server, release)) is (release != "3.0")
    found = health(server, "website")
    assert (found["status"], found["issues"][0]["severity"]) == ("insufficient", "error")
    assert found["issues"][0]["message"].startswith(found["ext"]["postback"]["volume"]["message"])
    assert found["ext"]["postback"]["volume"]["state"] == "offline"
    assert health(server, "tills")["status"] == "good"
    assert readiness(server) == {
        "status": "good",
        "issues": [
            {
                "severity": "warning",
                "message": "Event source website is offline. Its health in sync_event_sources says what to do.",
            }
        ],
    }

    [told] = eventually(lambda: list(slack.received), "the alert")
    alert = told["body"]
    assert alert["text"] == f"Event source website of account default has gone offline. {website['reason']}"
    assert (alert["kind"], alert["change"], alert["signal_id"]) == ("offline", "opened", website["impairment_id"])

    call(server, "rest", "sync_event_sources", {"event_sources": SOURCES[:1], "delete_missing": True})
    deleted = impaired(server)[1]
    assert (deleted["resource_id"], deleted["package_ids"]) == ("tills", packages[1:])
    assert "was deleted" in deleted["reason"]
    assert impaired(server)[1] == deleted
    call(server, "rest", "sync_event_sources", {"event_sources": SOURCES})
    assert impaired(server) == [website]

    server.stop()
    with stores(server.data) as (events, _):
        send(events, "website", datetime.now(UTC) - 12 * MINUTE, datetime.now(UTC))

    server = start()

    eventually(lambda: not impaired(server), "the end of the impairment")
    assert read(server)["health"] == "ok"
    eventually(lambda: len(slack.received) > 1, "the alert about the end")
    assert [each["body"]["change"] for each in slack.received] == ["opened", "closed"]
    assert media_buy_id
