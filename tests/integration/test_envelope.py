"""What every call shares: the release that it is served, and what it asks for and this server doesn't serve."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import DOORS, Door, call, error_of, order
from tests.acceptance.official import RELEASES, schema_errors, unique_key
from tests.integration.orders import ROAS, package
from tests.integration.orders import order as buying

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

_FOLLOWS = {"kind": "event", "event_sources": [{"event_source_id": "server", "event_type": "follow"}]}


def valid_in_every_release(path: str, answer: dict[str, Any]) -> None:
    for release in RELEASES:
        assert schema_errors(release, path, answer) == [], release


@pytest.fixture(scope="module")
def follower(seller: Server) -> str:
    """A media buy with a goal that AdCP 3.0 doesn't know."""
    answer = call(seller, "rest", "create_media_buy", buying(package(_FOLLOWS), package(ROAS, _FOLLOWS)))
    assert answer["status"] == "completed", answer
    media_buy_id: str = answer["media_buy_id"]
    return media_buy_id


@pytest.mark.parametrize("door", DOORS)
def test_a_call_that_pins_only_the_major_is_served_the_newest_release(seller: Server, door: Door) -> None:
    answer = call(seller, door, "get_adcp_capabilities", {"adcp_major_version": 3})

    assert answer["adcp_version"] == "3.2"
    assert answer["account"]["supported_account_currency_modes"], "as only 3.2 has it"
    valid_in_every_release("protocol/get-adcp-capabilities-response.json", answer)


def test_it_gets_no_value_that_a_client_of_an_older_release_refuses(seller: Server, follower: str) -> None:
    major = {"adcp_major_version": 3}

    listed = call(seller, "rest", "get_media_buys", {**major, "media_buy_ids": [follower]})
    report = call(seller, "rest", "get_media_buy_delivery", {**major, "media_buy_ids": [follower]})
    products = call(seller, "rest", "get_products", {**major, "buying_mode": "wholesale"})

    valid_in_every_release("media-buy/get-media-buys-response.json", listed)
    valid_in_every_release("media-buy/get-media-buy-delivery-response.json", report)
    valid_in_every_release("media-buy/get-products-response.json", products)
    first, second = listed["media_buys"][0]["packages"]
    assert "optimization_goals" not in first
    assert [goal["event_sources"][0]["event_type"] for goal in second["optimization_goals"]] == ["purchase"]
    assert {answer["adcp_version"] for answer in (listed, report, products)} == {"3.2"}


def test_it_may_send_what_the_newest_release_has(seller: Server) -> None:
    arguments = buying(package(_FOLLOWS), adcp_major_version=3)

    created = call(seller, "rest", "create_media_buy", arguments)

    assert created["media_buy_status"] == "active"
    assert schema_errors("3.0", "media-buy/create-media-buy-response.json", created) == []


@pytest.mark.parametrize("start", ["asap", "2098-01-01T00:00:00Z"])
def test_no_client_of_3_0_takes_its_media_buy_for_ended(seller: Server, start: str) -> None:
    """It reads ``status`` as the media buy's, and what a task's can be beside is final."""
    major = {"adcp_major_version": 3}
    created = call(seller, "rest", "create_media_buy", buying(start_time=start) | major)
    update = {"media_buy_id": created["media_buy_id"], "name": "n", "idempotency_key": unique_key()} | major

    updated = [call(seller, "rest", "update_media_buy", update) for _ in range(2)]

    for answer in (created, *updated):
        assert answer["status"] == answer["media_buy_status"] == ("active" if start == "asap" else "pending_start")
        assert answer["adcp_version"] == "3.2"
    assert updated[1]["replayed"] is True
    assert schema_errors("3.0", "media-buy/update-media-buy-response.json", updated[0]) == []


def test_it_needs_a_key_as_every_call_that_pins_a_release(seller: Server) -> None:
    answer = call(
        seller, "rest", "log_event", {"adcp_major_version": 3, "event_source_id": "shop", "events": [order("1")]}
    )

    assert error_of(answer)["field"] == "idempotency_key"


@pytest.mark.parametrize("door", DOORS)
def test_a_prerelease_that_a_setting_lists_is_served_and_echoed(start_server: StartServer, door: Door) -> None:
    tested = start_server(prereleases="3.2-beta.5")

    answer = call(tested, door, "get_adcp_capabilities", {"adcp_version": "3.2-beta.5", "adcp_major_version": 3})

    assert answer["adcp_version"] == "3.2-beta.5"
    assert answer["adcp"]["supported_versions"] == ["3.0", "3.1", "3.2", "3.2-beta.5"]
    refused = call(tested, door, "get_adcp_capabilities", {"adcp_version": "3.2-beta.4"})
    assert error_of(refused)["code"] == "VERSION_UNSUPPORTED"
    assert error_of(refused)["details"]["supported_versions"][-1] == "3.2-beta.5"


WEBHOOK = {
    "url": "https://buyer.example/hooks/4711",
    "operation_id": "op-4711-0001",
    "token": "a-token-of-the-buyer-4711",
    "authentication": {"schemes": ["Bearer"], "credentials": "secret-4711-secret-4711-secret-4711"},
    "headers": {"Authorization": "Bearer secret-4711"},
}
REPORTING = WEBHOOK | {"reporting_frequency": "daily"}


def warnings(answer: dict[str, Any]) -> list[str]:
    assert answer["status"] != "failed", answer
    told: list[str] = answer["ext"]["postback"].get("warnings", [])
    assert "4711" not in json.dumps(told)
    return told


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("release", [None, *RELEASES])
def test_webhooks_are_accepted_and_said_not_to_be_served(seller: Server, door: Door, release: str | None) -> None:
    pin = {"adcp_version": release} if release else {}
    arguments = buying(push_notification_config=WEBHOOK, reporting_webhook=REPORTING) | pin

    told = warnings(call(seller, door, "create_media_buy", arguments))
    again = warnings(call(seller, door, "create_media_buy", arguments))

    assert [sentence.partition(" ")[0] for sentence in told] == ["push_notification_config", "reporting_webhook"]
    assert again == told


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("log_event", {"event_source_id": "server", "events": [order("webhook-1")]}),
        ("sync_event_sources", {}),
        ("get_products", {"buying_mode": "wholesale"}),
        ("list_accounts", {}),
        ("get_media_buy_delivery", {}),
    ],
)
def test_every_task_says_so(seller: Server, task: str, arguments: dict[str, Any]) -> None:
    (told,) = warnings(call(seller, "rest", task, arguments | {"push_notification_config": WEBHOOK}))

    assert told.startswith("push_notification_config is not served")
    assert not warnings(call(seller, "rest", task, arguments | {"push_notification_config": None}))


@pytest.mark.parametrize("broken", ["hook", 7, [], {"url": 7}, {"authentication": "none"}])
def test_a_webhook_is_never_refused_for_its_form(seller: Server, broken: Any) -> None:
    answer = call(seller, "rest", "get_media_buy_delivery", {"push_notification_config": broken, "time_zone": broken})

    assert len(warnings(answer)) == 2


def test_an_update_that_asks_only_for_reports_changes_nothing_and_says_so(seller: Server) -> None:
    created = call(seller, "rest", "create_media_buy", buying())
    update = {"media_buy_id": created["media_buy_id"], "idempotency_key": unique_key(), "reporting_webhook": REPORTING}

    answer = call(seller, "rest", "update_media_buy", update)

    assert answer["revision"] == created["revision"]
    assert warnings(answer)[0].startswith("reporting_webhook is not served")


@pytest.mark.parametrize("field", ["time_zone", "timezone"])
def test_a_report_is_in_utc_days_whatever_time_zone_is_asked_for(seller: Server, follower: str, field: str) -> None:
    asked = {"media_buy_ids": [follower], "start_date": "2026-01-01", "end_date": "2026-01-03"}

    plain = call(seller, "rest", "get_media_buy_delivery", asked)
    zoned = call(seller, "rest", "get_media_buy_delivery", asked | {field: "America/Los_Angeles"})

    (told,) = warnings(zoned)
    assert told.startswith(f"{field} is not served")
    assert "UTC" in told
    assert zoned["reporting_period"] == {"start": "2026-01-01T00:00:00Z", "end": "2026-01-03T00:00:00Z"}
    assert zoned["media_buy_deliveries"] == plain["media_buy_deliveries"]


@pytest.mark.parametrize(
    "start", ["2026-01-01T00:00:00-08:00", "2026-01-01T00:00:00Z", "2026-01-01-08:00", "2026-01-01+01", "20260101", 1]
)
def test_a_day_with_a_time_or_an_offset_is_refused_clearly(seller: Server, start: Any) -> None:
    error = error_of(call(seller, "rest", "get_media_buy_delivery", {"start_date": start}))

    assert error["field"] == "start_date"
    assert "2026-01-31" in error["message"] or "string" in error["message"]


def test_windows_and_dimensions_of_a_report_are_not_passed_over_in_silence(seller: Server) -> None:
    asked = {"attribution_window": {"post_click": {"interval": 1, "unit": "days"}}, "reporting_dimensions": {"geo": {}}}

    told = warnings(call(seller, "rest", "get_media_buy_delivery", asked))

    assert [sentence.partition(" ")[0] for sentence in told] == ["attribution_window", "reporting_dimensions"]
