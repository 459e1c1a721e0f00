"""A buyer's agent asks what media buys delivered in a period."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import call
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid
from tests.integration.orders import buy, package

if TYPE_CHECKING:
    from tests.conftest import Server

NOW = "now"
START = "2020-05-01T00:00:00Z"


@pytest.fixture(scope="module")
def bought(seller: Server) -> str:
    """A media buy that began in May 2020."""
    own = {"ext": {"postback": {"media_buy_id": "may-2020"}}}
    return str(buy(seller, package(), start_time=START, **own)["media_buy_id"])


def report(seller: Server, media_buy_id: str, release: str | None = None, **arguments: Any) -> dict[str, Any]:
    answer = call(
        seller, "rest", "get_media_buy_delivery", pinned(release) | {"media_buy_ids": [media_buy_id]} | arguments
    )
    refuse_unless_valid("get_media_buy_delivery", answer, release)
    return answer


@pytest.mark.parametrize(
    ("dates", "start", "end"),
    [
        ({}, START, NOW),
        ({"start_date": "2021-01-01", "end_date": "2021-01-03"}, "2021-01-01T00:00:00Z", "2021-01-03T00:00:00Z"),
        ({"end_date": "2021-01-03"}, START, "2021-01-03T00:00:00Z"),
        ({"end_date": "2019-11-21"}, "2019-11-20T00:00:00Z", "2019-11-21T00:00:00Z"),
        ({"start_date": "2021-01-01"}, "2021-01-01T00:00:00Z", NOW),
        ({"start_date": "2098-01-01"}, "2098-01-01T00:00:00Z", "2098-01-02T00:00:00Z"),
        ({"start_date": "1900-01-01", "end_date": "1901-01-01"}, "1900-01-01T00:00:00Z", "1901-01-01T00:00:00Z"),
        ({"start_date": "0002-01-01", "end_date": "9998-01-01"}, "0002-01-01T00:00:00Z", "9998-01-01T00:00:00Z"),
        ({"end_date": "0001-01-02"}, "0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z"),
        ({"start_date": "9999-12-30"}, "9999-12-30T00:00:00Z", "9999-12-31T00:00:00Z"),
    ],
)
def test_a_report_says_which_period_it_covers(
    seller: Server, bought: str, dates: dict[str, str], start: str, end: str
) -> None:
    period = report(seller, bought, **dates)["reporting_period"]

    assert period["start"] == start
    if end == NOW:
        assert datetime.now(UTC) - datetime.fromisoformat(period["end"]) < timedelta(hours=1)
    else:
        assert period["end"] == end


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize(
    "dates",
    [
        {"start_date": "2026-01-02", "end_date": "2026-01-02"},
        {"start_date": "2026-01-03", "end_date": "2026-01-02"},
        {"start_date": "9999-12-31"},
    ],
)
def test_a_period_without_days_is_refused(
    seller: Server, bought: str, dates: dict[str, str], release: str | None
) -> None:
    answer = report(seller, bought, release, **dates)

    error = answer["adcp_error"]
    assert error["code"] == ("VALIDATION_ERROR" if release == "3.2" else "INVALID_REQUEST")
    assert (error["details"]["reason"], error["field"]) == ("INVALID_PERIOD", "end_date")


@pytest.mark.parametrize("day", ["2026-1-5", "20260105", "2026-W01-1", "2026-02-30", "2026-01-05 ", "²026-01-05", ""])
def test_a_day_that_is_none_is_refused(seller: Server, bought: str, day: str) -> None:
    answer = report(seller, bought, start_date=day)

    assert (answer["adcp_error"]["code"], answer["adcp_error"]["field"]) == ("INVALID_REQUEST", "start_date")


@pytest.mark.parametrize("release", DIALECTS)
def test_slices_by_time_are_refused_in_the_words_of_the_release(
    seller: Server, bought: str, release: str | None
) -> None:
    error = report(seller, bought, release, time_granularity="hourly")["adcp_error"]

    assert error["code"] == ("UNSUPPORTED_FEATURE" if release == "3.0" else "UNSUPPORTED_GRANULARITY")
    assert error["details"]["reason"] == "UNSUPPORTED_GRANULARITY"


@pytest.fixture(scope="module")
def euros(seller: Server) -> str:
    """A media buy in another currency."""
    return str(buy(seller, package(pricing_option_id="auction_cpm_eur"))["media_buy_id"])


@pytest.mark.parametrize("pin", [{}, {"adcp_major_version": 3}, pinned("3.0"), pinned("3.1")])
def test_buys_in_another_currency_are_counted_and_not_added(
    seller: Server, bought: str, euros: str, pin: dict[str, Any]
) -> None:
    answer = call(seller, "rest", "get_media_buy_delivery", pin | {"media_buy_ids": [bought, euros]})

    shown = [delivery["by_package"][0]["currency"] for delivery in answer["media_buy_deliveries"]]
    assert sorted(shown) == ["EUR", "USD"]
    assert answer["currency"] == shown[0], "the newest one's, and of two in one second the first that is shown"
    assert answer["aggregated_totals"]["media_buy_count"] == 2
    assert not any("currency" in delivery for delivery in answer["media_buy_deliveries"])


def test_from_3_2_on_each_buy_names_its_currency_and_several_have_no_total(
    seller: Server, bought: str, euros: str
) -> None:
    asked = pinned("3.2") | {"media_buy_ids": [bought, euros]}
    answer = call(seller, "rest", "get_media_buy_delivery", asked)

    refuse_unless_valid("get_media_buy_delivery", answer, "3.2")
    assert not {"currency", "aggregated_totals"} & answer.keys()
    assert {buy["media_buy_id"]: buy["currency"] for buy in answer["media_buy_deliveries"]} == {
        bought: "USD",
        euros: "EUR",
    }
    for delivery in answer["media_buy_deliveries"]:
        assert [package["currency"] for package in delivery["by_package"]] == [delivery["currency"]]


def test_in_3_2_buys_in_one_currency_still_have_a_total(seller: Server, bought: str) -> None:
    answer = report(seller, bought, "3.2")

    assert (answer["currency"], answer["aggregated_totals"]["media_buy_count"]) == ("USD", 1)
    assert [delivery["currency"] for delivery in answer["media_buy_deliveries"]] == ["USD"]


@pytest.fixture(scope="module")
def delivered(seller: Server, bought: str) -> str:
    """The same media buy, with clicks and a conversion that was simulated."""
    delivered = {
        "media_buy_id": bought,
        "impressions": 100,
        "clicks": 5,
        "conversions": 2,
        "conversion_value": 40.0,
        "reported_spend": {"amount": 10.0, "currency": "USD"},
        "viewability": {"viewable_rate": 0.5},
    }
    for day in ("2020-05-02", "2020-05-03"):
        scenario = {"scenario": "simulate_delivery", "params": delivered | {"delivery_date": day}}
        assert call(seller, "rest", "comply_test_controller", pinned("3.2") | scenario)["success"] is True
    return bought


def metrics(row: dict[str, Any]) -> set[str]:
    return row.keys() & {
        *("impressions", "spend", "clicks", "ctr", "conversions", "conversion_value", "roas", "cost_per_acquisition"),
        *("viewability", "by_event_type", "by_action_source"),
    }


@pytest.mark.parametrize(
    ("requested", "shown"),
    [
        (["clicks"], {"clicks"}),
        (["impressions", "spend"], set()),
        (["conversions", "roas"], {"conversions", "roas"}),
        (["conversion_value", "ctr"], {"conversion_value", "ctr"}),
        (["viewable_rate"], {"viewability"}),
        (["viewed_seconds_histogram", "cost_per_acquisition"], {"viewability", "cost_per_acquisition"}),
        (["reach", "no_such_metric"], set()),
    ],
)
@pytest.mark.parametrize("release", DIALECTS)
def test_a_report_has_the_metrics_that_are_asked_for(
    seller: Server, delivered: str, requested: list[str], shown: set[str], release: str | None
) -> None:
    asked = {"requested_metrics": requested, "include_package_daily_breakdown": True}

    answer = report(seller, delivered, release, **asked)

    buy, always = answer["media_buy_deliveries"][0], {"impressions", "spend"}
    assert metrics(buy["totals"]) == metrics(buy["by_package"][0]) == shown | always
    rows = [answer["aggregated_totals"], *buy["daily_breakdown"], *buy["by_package"][0]["daily_breakdown"]]
    assert len(rows) == 5
    assert all(metrics(row) == (shown | always) - {"ctr", "viewability"} for row in rows)
    assert answer["aggregated_totals"]["media_buy_count"] == 1


@pytest.mark.parametrize("requested", [[], "clicks", [1], {"clicks": True}])
def test_metrics_are_asked_for_as_a_list(seller: Server, delivered: str, requested: Any) -> None:
    answer = call(seller, "rest", "get_media_buy_delivery", {"requested_metrics": requested})

    assert answer["adcp_error"]["field"].startswith("requested_metrics")
