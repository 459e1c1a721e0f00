"""A buyer sees before it buys whether its event sources suffice for a product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.acceptance.official import schema_errors

from postback.event_sources.event_source import EventSource
from postback.event_sources.health import Status
from postback.products.product import PricingOption, Product
from postback.products.readiness import measurement_readiness

CPM = PricingOption(pricing_option_id="cpm", pricing_model="cpm", currency="EUR", fixed_price=5)


def paid_for(event_type: str, event_source_id: str | None = None) -> PricingOption:
    return PricingOption(
        pricing_option_id=f"cpa_{event_type}",
        pricing_model="cpa",
        currency="EUR",
        fixed_price=5,
        event_type=event_type,
        event_source_id=event_source_id,
    )


def source(event_source_id: str, *event_types: str) -> EventSource:
    return EventSource(
        account_id="acme",
        event_source_id=event_source_id,
        seller_id=f"src_{event_source_id}",
        event_types=event_types or None,
    )


def readiness(sources: list[EventSource], statuses: Mapping[str, Status], *options: PricingOption) -> dict[str, Any]:
    product = Product(
        product_id="home",
        name="Home",
        description="Home page",
        delivery_type="guaranteed",
        publisher_domains=("news.example",),
        formats=("display_300x250",),
        pricing_options=options or (CPM,),
    )
    shown: dict[str, Any] = msgspec.to_builtins(measurement_readiness(product, sources, statuses))
    for release in ("3.0", "3.1", "3.2"):
        assert schema_errors(release, "core/measurement-readiness.json", shown) == []
    return shown


def test_an_account_without_sources_is_told_to_set_one_up() -> None:
    shown = readiness([], {})

    assert shown == {
        "status": "insufficient",
        "issues": [
            {
                "severity": "error",
                "message": "The account has no event source. Set one up with sync_event_sources.",
            }
        ],
    }


def test_the_best_source_counts() -> None:
    sources = [source("website"), source("tills")]

    assert readiness(sources, {"website": "good", "tills": "minimum"}) == {"status": "good"}


def test_a_source_that_has_never_sent_is_named() -> None:
    shown = readiness([source("website"), source("tills")], {"website": "good"})

    assert shown["status"] == "good"
    assert shown["issues"] == [
        {
            "severity": "warning",
            "message": (
                "Event source tills has not sent an event yet. Its health in sync_event_sources says what to do."
            ),
        }
    ]


def test_the_only_source_that_is_offline_is_an_error() -> None:
    shown = readiness([source("website")], {"website": "insufficient"})

    assert shown["status"] == "insufficient"
    assert shown["issues"][0]["severity"] == "error"
    assert shown["issues"][0]["message"].startswith("Event source website is offline.")


def test_what_a_price_is_paid_for_must_come_from_some_source() -> None:
    shown = readiness([source("website", "purchase")], {"website": "good"}, paid_for("lead"))

    assert (shown["status"], shown["required_event_types"]) == ("insufficient", ["lead"])
    assert shown["missing_event_types"] == ["lead"]
    assert shown["issues"][0]["message"].startswith("No event source that this product can use accepts lead.")


@pytest.mark.parametrize("named", [None, "crm", "src_crm"])
def test_only_sources_that_can_have_such_events_count(named: str | None) -> None:
    sources = [source("website", "purchase"), source("crm", "lead")]
    shown = readiness(sources, {"website": "excellent", "crm": "minimum"}, paid_for("lead", named))

    assert shown == {"status": "minimum", "required_event_types": ["lead"]}


def test_the_readiest_of_several_prices_counts() -> None:
    sources = [source("website", "purchase"), source("crm", "lead")]
    shown = readiness(sources, {"website": "excellent", "crm": "minimum"}, paid_for("lead"), paid_for("purchase"))

    assert (shown["status"], shown["required_event_types"]) == ("excellent", ["lead", "purchase"])


def test_no_event_type_is_required_where_a_price_is_paid_for_none() -> None:
    assert readiness([source("website", "purchase")], {"website": "good"}, CPM, paid_for("lead")) == {"status": "good"}
