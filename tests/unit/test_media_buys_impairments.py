"""A media buy is impaired by the sources that its running packages need, and by no others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from postback.event_sources.offline import OfflineSource
from postback.event_sources.rhythms import SourceKey
from postback.media_buys.goals import EventGoal, GoalSource
from postback.media_buys.impairments import impairments_of
from postback.media_buys.media_buy import MediaBuy, Package

NOW = datetime.now(UTC)


def offline(*sources: str, account_id: str = "acme") -> dict[SourceKey, OfflineSource]:
    keys = [SourceKey(account_id, source) for source in sources]
    return {key: OfflineSource(key, f"imp_{key.event_source_id}", NOW, "good", "Silent.", "Send.") for key in keys}


def package(package_id: str, *sources: str, **fields: Any) -> Package:
    named = tuple(GoalSource(event_source_id=source, event_type="purchase") for source in sources)
    goals = (EventGoal(kind="event", event_sources=named),) if named else (EventGoal(kind="metric", metric="clicks"),)
    return Package(package_id=package_id, product_id="p", pricing_option_id="cpm", budget=1, goals=goals, **fields)


def buy(*packages: Package, status: Any = "active") -> MediaBuy:
    return MediaBuy(
        account_id="acme",
        media_buy_id="buy",
        status=status,
        currency="EUR",
        start_at=NOW - timedelta(days=1),
        end_at=NOW + timedelta(days=1),
        created_at=NOW,
        total_budget=1,
        packages=packages,
    )


def found(media_buy: MediaBuy, sources: dict[SourceKey, OfflineSource]) -> list[tuple[str, list[str]]]:
    return [(each.resource_id, each.package_ids) for each in impairments_of(media_buy, sources)]


def test_each_source_has_an_impairment_with_the_packages_that_need_it() -> None:
    media_buy = buy(package("a", "website"), package("b", "website", "tills"), package("c", "crm"), package("d"))

    assert found(media_buy, offline("website", "tills")) == [("website", ["a", "b"]), ("tills", ["b"])]


@pytest.mark.parametrize("status", ["active", "paused", "pending_start"])
def test_a_media_buy_that_has_not_ended_is_impaired(status: Any) -> None:
    assert found(buy(package("a", "website"), status=status), offline("website")) == [("website", ["a"])]


@pytest.mark.parametrize("status", ["canceled", "completed"])
def test_a_media_buy_that_has_ended_is_not(status: Any) -> None:
    assert found(buy(package("a", "website"), status=status), offline("website")) == []


@pytest.mark.parametrize("ended", [{"canceled_at": NOW}, {"end_at": NOW - timedelta(hours=1)}])
def test_a_package_that_has_ended_needs_nothing(ended: Any) -> None:
    media_buy = buy(package("a", "website", **ended), package("b", "website"))

    assert found(media_buy, offline("website")) == [("website", ["b"])]


def test_a_source_of_another_account_with_the_same_name_is_another_source() -> None:
    assert found(buy(package("a", "website")), offline("website", account_id="other")) == []
