"""An upgrade finds everything in a data folder that an older Postback wrote.

The folder is that of commit 1db05e3, from before the event store recorded a version of its schema, and so are the
answers that the test expects: ``tests/data/make_folder_1db05e3.py`` made both with the code of that commit.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conversions import ago, call, log, order
from tests.conftest import Server, StartServer, eventually
from tests.data.make_folder_1db05e3 import BUY, ENDED_BUY, KEY, exposure, person

from postback.attribution.runner import Attribution
from postback.media_buys.store import MediaBuyStore
from postback.store.control_store import ControlStore
from postback.store.event_schema import MIGRATIONS
from postback.store.event_store import EventStore

DATA = Path(__file__).parents[1] / "data"
RECORDED: dict[str, Any] = json.loads((DATA / "folder_1db05e3.json").read_text())


PERIODS = {ENDED_BUY: {"start_date": "2026-01-01", "end_date": "2026-02-01"}}
ATTRIBUTION = ("status", "package_id", "exposure_id", "value")


def unpack(folder: Path) -> Path:
    with tarfile.open(DATA / "folder_1db05e3.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def upgraded(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of today on the folder, called with the key that is in it."""
    started = start_server(data=unpack(tmp_path_factory.mktemp("old") / "data"), sandbox="true", bootstrap_key="")
    return replace(started, key=KEY)


def delivery(server: Server, media_buy_id: str, period: dict[str, str]) -> dict[str, Any]:
    answer = call(server, "rest", "get_media_buy_delivery", {"media_buy_ids": [media_buy_id]} | period)
    [found] = answer["media_buy_deliveries"]
    return dict(found)


def totals(server: Server, media_buy_id: str) -> dict[str, Any]:
    """Of one media buy, over the days that the old server was asked for."""
    return dict(delivery(server, media_buy_id, PERIODS.get(media_buy_id, RECORDED["period"]))["totals"])


def get(server: Server, path: str) -> dict[str, Any]:
    with server.client() as client:
        return dict(client.get(path).raise_for_status().json())


def conversions(server: Server) -> list[str]:
    path, cursor, found = f"/v1/media-buys/{BUY}/conversions", "", []
    while True:
        page = get(server, f"{path}?cursor={cursor}" if cursor else path)
        found += [f"{row['event_source_id']}/{row['event_type']}/{row['event_id']}" for row in page["conversions"]]
        cursor = page["pagination"].get("cursor", "")
        if not cursor:
            return sorted(found)


@pytest.mark.parametrize("media_buy_id", RECORDED["totals"])
def test_reports_say_what_they_said(upgraded: Server, media_buy_id: str) -> None:
    assert totals(upgraded, media_buy_id) == RECORDED["totals"][media_buy_id]


def test_final_numbers_are_final(upgraded: Server) -> None:
    assert RECORDED["final"] == [ENDED_BUY]
    assert delivery(upgraded, ENDED_BUY, PERIODS[ENDED_BUY])["is_final"] is True


def test_every_conversion_is_listed(upgraded: Server) -> None:
    assert len(RECORDED["conversions"]) > 250
    assert conversions(upgraded) == RECORDED["conversions"]


@pytest.mark.parametrize("event", RECORDED["events"])
def test_events_are_found_and_so_are_test_events_and_rejections(upgraded: Server, event: str) -> None:
    expected = RECORDED["events"][event]
    answer = get(upgraded, f"/v1/events/{event}")
    found = answer["statuses"]
    assert [status["received_at"] for status in found] == expected["received_at"]
    assert [status.get("match_quality") for status in found] == expected["match_quality"]
    attribution = answer.get("attribution", {})
    assert {name: attribution.get(name) for name in ATTRIBUTION} == {
        name: expected["attribution"][name] for name in ATTRIBUTION
    }


def test_event_sources_have_their_health(upgraded: Server) -> None:
    sources = call(upgraded, "rest", "sync_event_sources", {})["event_sources"]
    found = {source["event_source_id"]: source["health"].get("last_event_at") for source in sources}
    assert found.items() >= RECORDED["last_event_at"].items()


def test_an_answer_of_the_old_server_is_replayed(upgraded: Server) -> None:
    recorded = RECORDED["create_media_buy"]
    answer = call(upgraded, "rest", "create_media_buy", recorded["request"])
    assert answer["replayed"] is True
    for name in ("media_buy_id", "confirmed_at", "packages"):
        assert answer[name] == recorded["answer"][name]


def test_what_it_holds_is_attributed_again_as_it_was_and_what_arrives_now_too(
    start_own_server: StartServer, tmp_path: Path
) -> None:
    folder = unpack(tmp_path / "data")
    server = start_own_server(data=folder, sandbox="true")
    server.stop()
    server.command("attribute", "--rebuild")
    server = start_own_server(data=folder, sandbox="true")
    assert {media_buy_id: totals(server, media_buy_id) for media_buy_id in RECORDED["totals"]} == RECORDED["totals"]

    shown = exposure("of_today", 900, "click", BUY, f"{BUY}_1", hours=1) | {"occurred_at": ago(hours=1)}
    assert call(server, "rest", "exposures", {"exposures": [shown]})["exposures_processed"] == 1
    for event_id in ("order_1", "order_of_today"):
        assert log(server, "shop", order(event_id, user_match=person(900)))["events_processed"] == 1

    def attribution(event_id: str) -> dict[str, Any]:
        return dict(get(server, f"/v1/events/shop/purchase/{event_id}")["attribution"])

    eventually(lambda: attribution("order_of_today")["status"] == "attributed", "attribution")
    assert attribution("order_of_today")["exposure_id"] == "of_today"
    # A copy of an old event is known to be one.
    before = RECORDED["events"]["shop/purchase/order_1"]["attribution"]
    assert {name: attribution("order_1")[name] for name in ATTRIBUTION} == {name: before[name] for name in ATTRIBUTION}


def schema(folder: Path) -> dict[str, Any]:
    """How every table and view is made once a start is complete, and the versions of the schema."""
    folder.mkdir(exist_ok=True)
    control = ControlStore(f"sqlite:///{folder}/control.db")
    control.migrate()
    store = EventStore.open(f"chdb://{folder}/events", folder)
    Attribution(store, control, MediaBuyStore(control), folder / "derived").catch_up()
    query = "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
    made: dict[str, Any] = dict(map(tuple, store.deriver.query(query).result_rows))
    made["versions"] = store.deriver.query("SELECT version FROM schema_version FINAL ORDER BY version").result_rows
    store.close()
    control.close()
    return made


def test_its_schema_becomes_that_of_a_new_folder(tmp_path: Path) -> None:
    old, new = schema(unpack(tmp_path / "old")), schema(tmp_path / "new")
    assert old == new
    assert new["versions"] == [(migration.version,) for migration in MIGRATIONS]
    assert "run_prior" not in old
