"""What a server knows of duplicates when it starts again: nothing by itself, and everything when it asks the store."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from tests.in_process import call, serving
from tests.integration.test_duplicates import exposure, log, order

pytestmark = pytest.mark.anyio


async def test_a_restart_forgets_what_it_saw_unless_the_store_is_asked(tmp_path: Path) -> None:
    exactly = {"postback": {"count_duplicates": "exact"}}
    async with serving(tmp_path / "data") as server:
        await call(server, "sync_event_sources", event_sources=[{"event_source_id": "shop"}])
        answer = await log(server, "shop", *(order(f"o{number}") for number in range(1_200)))
        assert answer["ext"]["postback"]["duplicates"] == {"in_call": 0, "known": 0, "different": 0, "exact": True}
    async with serving(tmp_path / "data") as server:
        answer = await log(server, "shop", order("o1"))
        assert answer["ext"]["postback"]["duplicates"] == {"in_call": 0, "known": 0, "different": 0, "exact": False}
        again = [
            order("o2", minutes=1),
            *(order(f"o{number}") for number in range(3, 1_200)),
            order("new"),
            order("new"),
        ]
        answer = await log(server, "shop", *again, ext=exactly)
        assert answer["ext"]["postback"]["duplicates"] == {"in_call": 1, "known": 1_198, "different": 1, "exact": True}
        answer = await log(server, "shop", order("tested"), test_event_code="T", ext=exactly)
        assert answer["ext"]["postback"]["duplicates"]["known"] == 0


@pytest.mark.parametrize("count", [1, 100])
async def test_a_batch_of_test_events_is_stored_with_its_duplicates(tmp_path: Path, count: int) -> None:
    orders = [order(f"o{number}") for number in range(count)]
    async with serving(tmp_path / "data") as server:
        await call(server, "sync_event_sources", event_sources=[{"event_source_id": "shop"}])
        for known in (0, count):
            answer = await log(server, "shop", *orders, test_event_code="T")
            assert answer["events_processed"] == count
            assert answer["ext"]["postback"]["duplicates"]["known"] == known
        found = (await server.get("/v1/events/shop/purchase/o0")).json()
        assert [status["test_event_code"] for status in found["statuses"]] == ["T"]


async def test_an_exposure_id_that_is_found_to_be_reused_later_is_counted(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as server:
        await call(server, "exposures", exposures=[exposure("auc1"), exposure("auc2")])
    async with serving(tmp_path / "data") as server:
        later = [exposure("auc1", kind="click"), exposure("auc2", creative_id="c"), exposure("auc3")]
        assert (await call(server, "exposures", exposures=later))["exposures_processed"] == 3
        with anyio.fail_after(60):
            while "postback_exposures_reused_total 1.0" not in (await server.get("/metrics")).text:  # noqa: ASYNC110
                await anyio.sleep(0.1)
