"""A sender learns what became of its copies: in the answer, in the event's status and in the source's health."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Any

import httpx2
import pytest
from tests.in_process import call, serving

pytestmark = pytest.mark.anyio

_SOURCES = count()
_NOW = datetime.now(UTC)
ADA, BOB = ({"hashed_email": sha256(name).hexdigest()} for name in (b"ada@shop.example", b"bob@shop.example"))


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(tmp_path_factory.mktemp("server") / "data") as client:
        yield client


@pytest.fixture
async def source(server: httpx2.AsyncClient) -> str:
    event_source_id = f"shop_{next(_SOURCES)}"
    await call(server, "sync_event_sources", event_sources=[{"event_source_id": event_source_id}])
    return event_source_id


def order(event_id: str, minutes: int = 60, **changes: Any) -> dict[str, Any]:
    event = {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": (_NOW - timedelta(minutes=minutes)).isoformat(),
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user_match": ADA,
        "custom_data": {"value": 100, "currency": "EUR", "order_id": event_id},
    }
    return {name: value for name, value in (event | changes).items() if value is not None}


async def log(server: httpx2.AsyncClient, source: str, *events: dict[str, Any], **more: Any) -> dict[str, Any]:
    return await call(server, "log_event", event_source_id=source, events=events, **more)


def duplicates(answer: dict[str, Any]) -> tuple[int, int, int]:
    found = answer["ext"]["postback"]["duplicates"]
    return found["in_call"], found["known"], found["different"]


def differing(answer: dict[str, Any]) -> list[str]:
    return [warning for warning in answer.get("warnings", []) if warning.startswith("DUPLICATE_DIFFERS")]


async def status(server: httpx2.AsyncClient, source: str, event_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await server.get(f"/v1/events/{source}/purchase/{event_id}")).json()
    return found


async def issues(server: httpx2.AsyncClient, source: str) -> list[str]:
    sources = (await call(server, "sync_event_sources"))["event_sources"]
    (health,) = [found["health"] for found in sources if found["event_source_id"] == source]
    return [issue["message"] for issue in health["issues"]]


async def test_an_order_that_was_edited_is_accepted_and_said_to_be_ignored(
    server: httpx2.AsyncClient, source: str
) -> None:
    """Shopify's orders/edited, Google's restatements: the same order with 80 in place of 100."""
    await log(server, source, order("1001"))
    edited = await log(server, source, order("1001", custom_data={"value": 80, "currency": "EUR", "order_id": "1001"}))
    assert edited["events_processed"] == 1
    assert duplicates(edited) == (0, 1, 1)
    assert differing(edited)[0].startswith("DUPLICATE_DIFFERS: 1/1 events [0] ")
    found = (await status(server, source, "1001"))["differing_copies"]
    assert (found["count"], [copy["differs"] for copy in found["earliest"]]) == (1, [["custom_data.value"]])


async def test_renewals_under_the_first_orders_id_are_pointed_out(server: httpx2.AsyncClient, source: str) -> None:
    answers = [await log(server, source, order("sub_42", minutes=month * 43_200)) for month in (2, 1, 0)]
    assert [duplicates(answer) for answer in answers] == [(0, 0, 0), (0, 1, 1), (0, 1, 1)]
    assert [bool(differing(answer)) for answer in answers] == [False, True, True]
    found = (await status(server, source, "sub_42"))["differing_copies"]
    assert (found["count"], [copy["differs"] for copy in found["earliest"]]) == (2, [["event_time"]] * 2)


async def test_a_copy_that_brings_identifiers_is_no_warning_and_adds_them(
    server: httpx2.AsyncClient, source: str
) -> None:
    """Facebook's event enrichment: first without, then with user_match."""
    await log(server, source, order("en1", user_match=None))
    enriched = await log(server, source, order("en1"))
    assert (duplicates(enriched), differing(enriched)) == ((0, 1, 0), [])
    found = await status(server, source, "en1")
    assert [entry["identifiers"] for entry in found["statuses"]] == [["hashed_email"]]
    assert [copy["differs"] for copy in found["differing_copies"]["earliest"]] == [["user_match"]]


async def test_a_copy_without_identifiers_differs_in_nothing(server: httpx2.AsyncClient, source: str) -> None:
    await log(server, source, order("o1"), order("o1", user_match=None))
    assert "differing_copies" not in await status(server, source, "o1")


async def test_a_retry_is_counted_and_nothing_else(server: httpx2.AsyncClient, source: str) -> None:
    await log(server, source, order("a"), order("b"))
    retried = await log(server, source, order("a"), order("b"), order("c"))
    assert (duplicates(retried), differing(retried)) == ((0, 2, 0), [])
    assert "differing_copies" not in await status(server, source, "a")


@pytest.mark.parametrize("many", [1, 60], ids=["inline", "in a worker or thread"])
async def test_copies_inside_a_call_are_counted_apart(server: httpx2.AsyncClient, source: str, many: int) -> None:
    padding = [order(f"other_{number}") for number in range(many)]
    answer = await log(
        server, source, order("x"), *padding, order("x"), order("x", minutes=1), order("x", user_match=BOB)
    )
    assert duplicates(answer) == (3, 0, 1)
    assert differing(answer)[0].startswith(f"DUPLICATE_DIFFERS: 1/{many + 4} events [{many + 2}] ")


@pytest.mark.parametrize(
    ("changes", "different"),
    [
        ({}, False),
        ({"user_match": BOB}, False),
        ({"user_match": None}, False),
        ({"action_source": "app"}, False),
        ({"event_source_url": "https://shop.example/other"}, False),
        ({"loyalty": "gold"}, False),
        ({"custom_data": {"order_id": "t", "currency": "EUR", "value": 100.0}}, False),
        ({"custom_data": {"value": 100, "currency": "EUR", "order_id": "t", "num_items": 3}}, False),
        ({"event_time": (_NOW - timedelta(minutes=60)).astimezone().isoformat()}, False),
        ({"event_time": (_NOW - timedelta(minutes=60, microseconds=1)).isoformat()}, True),
        ({"custom_data": {"value": 100.01, "currency": "EUR", "order_id": "t"}}, True),
        ({"custom_data": {"value": 100, "currency": "USD", "order_id": "t"}}, True),
        ({"custom_data": {"value": 100, "currency": "EUR", "order_id": "u"}}, True),
        ({"custom_data": {"value": 100, "currency": "EUR"}}, True),
        ({"custom_data": None}, True),
        ({"custom_event_name": "trial"}, True),
    ],
)
async def test_what_makes_a_copy_different(
    server: httpx2.AsyncClient, source: str, changes: dict[str, Any], different: bool
) -> None:
    await log(server, source, order("t"))
    assert duplicates(await log(server, source, order("t", **changes))) == (0, 1, int(different))
    exact = await log(server, source, order("t", **changes), ext={"postback": {"count_duplicates": "exact"}})
    assert duplicates(exact) == (0, 1, int(different))


async def test_test_events_are_counted_among_themselves(server: httpx2.AsyncClient, source: str) -> None:
    await log(server, source, order("t"))
    first = await log(server, source, order("t"), test_event_code="A")
    second = await log(server, source, order("t", minutes=5), test_event_code="A")
    assert [duplicates(first), duplicates(second)] == [(0, 0, 0), (0, 1, 1)]
    assert "differing_copies" not in await status(server, source, "t")


async def test_a_replayed_answer_is_the_stored_one(server: httpx2.AsyncClient, source: str) -> None:
    call_ = {"idempotency_key": f"{source}-0123456789abcdef"}
    first = await log(server, source, order("r"), **call_)
    replayed = await log(server, source, order("r"), **call_)
    assert replayed["replayed"] is True
    assert replayed["ext"]["postback"]["duplicates"] == first["ext"]["postback"]["duplicates"]


async def test_at_most_twenty_differing_copies_are_listed_and_all_are_counted(
    server: httpx2.AsyncClient, source: str
) -> None:
    await log(server, source, *(order("many", minutes=minutes) for minutes in range(60, 20, -1)))
    text = (await server.get(f"/v1/events/{source}/purchase/many")).text
    found = (await status(server, source, "many"))["differing_copies"]
    assert (found["count"], len(found["earliest"])) == (39, 20)
    assert ADA["hashed_email"] not in text


async def test_health_counts_duplicates_and_what_differs(server: httpx2.AsyncClient, source: str) -> None:
    await log(server, source, *(order(f"o{number}") for number in range(20)))
    await log(server, source, *(order(f"o{number}") for number in range(3)))
    assert any(message.startswith("3 of 23 events") for message in await issues(server, source))
    await log(server, source, order("o1", minutes=1))
    assert any(message.startswith("DUPLICATE_DIFFERS: 1 events") for message in await issues(server, source))


async def test_one_order_under_two_event_ids_is_an_issue_but_refunds_are_not(
    server: httpx2.AsyncClient, source: str
) -> None:
    """Facebook for WooCommerce: the pixel sends px-77 and the server srv-77."""
    data: dict[str, Any] = {"custom_data": {"value": 5, "currency": "EUR", "order_id": "77"}}
    await log(server, source, order("px-77", **data), order("r1", event_type="refund", **data))
    await log(server, source, order("r2", event_type="refund", **data), *(order(f"o{number}") for number in range(20)))
    assert not [message for message in await issues(server, source) if "SAME_ORDER_ID" in message]
    await log(server, source, order("srv-77", **data))
    assert [message for message in await issues(server, source) if message.startswith("SAME_ORDER_ID: 1 order_ids")]


async def test_the_status_of_an_event_names_others_of_its_order(server: httpx2.AsyncClient, source: str) -> None:
    data: dict[str, Any] = {"custom_data": {"value": 5, "currency": "EUR", "order_id": 'a "quoted" 77'}}
    await log(server, source, order("px-77", **data), order("r1", event_type="refund", **data), order("lone"))
    await log(server, source, order("srv-77", **data), order("srv-77", minutes=1, **data))
    found = await status(server, source, "px-77")
    assert [(other["event_source_id"], other["event_id"]) for other in found["same_order"]] == [(source, "srv-77")]
    assert found["statuses"][0]["warnings"] == ["SAME_ORDER_ID"]
    assert [other["event_id"] for other in (await status(server, source, "srv-77"))["same_order"]] == ["px-77"]
    refund = (await server.get(f"/v1/events/{source}/refund/r1")).json()
    assert "same_order" not in refund
    assert "same_order" not in await status(server, source, "lone")


async def named_together(server: httpx2.AsyncClient, *sources: str) -> None:
    """Make the sources, and a media buy with a goal that names purchases and refunds of all of them."""
    await call(server, "sync_event_sources", event_sources=[{"event_source_id": name} for name in sources])
    [product, *_] = (await call(server, "get_products", buying_mode="wholesale"))["products"]
    named = [
        {"event_source_id": name, "event_type": event_type} for name in sources for event_type in ("purchase", "refund")
    ]
    package = {
        "product_id": product["product_id"],
        "pricing_option_id": product["pricing_options"][0]["pricing_option_id"],
        "budget": 5000,
        "bid_price": 10,
        "optimization_goals": [{"kind": "event", "event_sources": named}],
    }
    await call(
        server,
        "create_media_buy",
        idempotency_key=f"{sources[0]}-0123456789abcdef",
        start_time="asap",
        end_time="2099-01-01T00:00:00Z",
        packages=[package],
    )


async def test_sources_that_a_goal_names_together_are_searched_together(
    server: httpx2.AsyncClient, source: str
) -> None:
    pixel, shop, stranger = source, f"{source}_server", f"{source}_of_another_shop"
    await named_together(server, pixel, shop)
    await call(server, "sync_event_sources", event_sources=[{"event_source_id": stranger}])
    data: dict[str, Any] = {"custom_data": {"value": 5, "currency": "EUR", "order_id": "77"}}
    for name, event_id in ((pixel, "px-77"), (shop, "srv-77"), (stranger, "x-77")):
        await log(server, name, order(event_id, **data), *(order(f"{event_id}-{number}") for number in range(12)))

    found = [[message[:13] for message in await issues(server, name)] for name in (pixel, shop, stranger)]
    assert found == [["SAME_ORDER_ID"], ["SAME_ORDER_ID"], []]
    assert [other["event_id"] for other in (await status(server, pixel, "px-77"))["same_order"]] == ["srv-77"]
    assert "same_order" not in await status(server, stranger, "x-77")


async def test_linked_sources_that_say_different_things_of_an_order_are_an_issue(
    server: httpx2.AsyncClient, source: str
) -> None:
    """Net and gross, or a few seconds, are normal; another currency or order_id is not."""
    pixel, shop = source, f"{source}_server"
    await named_together(server, pixel, shop)
    few = [order(f"few{number}") for number in range(12)]
    await log(server, pixel, *few, order("o1"), order("o2"), order("o3"), order("o4"))
    net = {"custom_data": {"value": 84, "currency": "EUR"}}
    await log(server, shop, *few, order("o1", minutes=59, **net))
    assert not [message for message in await issues(server, shop) if "another currency" in message]

    other_currency: dict[str, Any] = {"custom_data": {"value": 100, "currency": "USD", "order_id": "o2"}}
    other_order: dict[str, Any] = {"custom_data": {"value": 100, "currency": "EUR", "order_id": "3-1"}}
    await log(server, shop, order("o2", **other_currency), order("o3", **other_order))

    for name in (pixel, shop):
        assert [m[:31] for m in await issues(server, name) if "currency or" in m] == ["2 events of the last 24 hours c"]


@pytest.mark.parametrize(
    ("event_id", "order_id", "purchase"),
    [("{}-1", "", "{}-1"), ("{}-r", "{}-2", "{}-2"), ("{}-r", "", "")],
    ids=["same event_id", "same order_id", "nothing in common"],
)
async def test_a_refund_whose_purchase_is_in_another_source_says_which(
    server: httpx2.AsyncClient, source: str, event_id: str, order_id: str, purchase: str
) -> None:
    event_id, order_id, purchase = (text.format(source) for text in (event_id, order_id, purchase))
    shop, stranger = f"{source}_server", f"{source}_elsewhere"
    await named_together(server, source, shop)
    await call(server, "sync_event_sources", event_sources=[{"event_source_id": stranger}])
    await log(server, stranger, order(f"{source}-1"), order(f"{source}-2"))

    named = {"order_id": order_id} if order_id else None
    await log(server, source, order(event_id, event_type="refund", custom_data=named))

    found = (await server.get(f"/v1/events/{source}/refund/{event_id}")).json()
    hint = found.get("purchase_elsewhere", {})
    assert hint.get("event_id", "") == purchase
    if purchase:
        assert (hint["event_source_id"], hint["event_type"]) == (stranger, "purchase")
        assert "name both sources in one goal" in hint["message"]


def exposure(exposure_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "exposure_id": exposure_id,
        "kind": "impression",
        "occurred_at": (_NOW - timedelta(hours=2)).isoformat(),
        "media_buy_id": "mb",
        "package_id": "p",
        "user_match": ADA,
    } | changes


async def test_an_exposure_under_anothers_id_fails_at_once(server: httpx2.AsyncClient) -> None:
    """One auction id for the impression and its click."""
    both = await call(server, "exposures", exposures=[exposure("auc1"), exposure("auc1", kind="click")])
    assert both["exposures_processed"] == 1
    (failure,) = both["partial_failures"]
    assert (failure["reason"], failure["index"], failure["exposure_id"]) == ("EXPOSURE_ID_REUSED", 1, "auc1")
    assert "exposure_id of its own" in failure["message"]
    for changes, reason in (
        ({}, None),
        ({"user_match": BOB}, None),
        ({"occurred_at": (_NOW - timedelta(hours=1)).isoformat()}, None),
        ({"kind": "click"}, "EXPOSURE_ID_REUSED"),
        ({"package_id": "p2"}, "EXPOSURE_ID_REUSED"),
        ({"media_buy_id": "mb2"}, "EXPOSURE_ID_REUSED"),
    ):
        answer = await call(server, "exposures", exposures=[exposure("auc1", **changes)])
        assert [failed["reason"] for failed in answer.get("partial_failures", [])] == ([reason] if reason else [])
        many = [exposure("auc1", **changes), *(exposure(f"{len(str(changes))}-{number}") for number in range(60))]
        answer = await call(server, "exposures", exposures=many)
        assert len(answer.get("partial_failures", [])) == bool(reason)


async def test_sandbox_events_beyond_what_reports_cover_are_refused_in_words(
    server: httpx2.AsyncClient, source: str
) -> None:
    answer = await log(
        server,
        source,
        order("last", event_time="2105-12-31T23:59:59Z"),
        order("late", event_time="2106-01-01T00:00:00Z"),
    )
    (failure,) = answer["partial_failures"]
    assert (failure["event_id"], failure["reason"]) == ("late", "INVALID_EVENT_TIME")
    assert "2105" in failure["message"]
