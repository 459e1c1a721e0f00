"""Media buys are kept with their goals; whoever attributes conversions sees what counts, and when that changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postback.accounts.store import AccountStore
from postback.errors import InvalidRequest
from postback.media_buys.attribution_windows import Duration, Window
from postback.media_buys.goals import EventGoal, GoalSource, GoalTarget
from postback.media_buys.media_buy import MediaBuy, Package
from postback.media_buys.store import MediaBuyStore
from postback.store.control_store import ControlStore

NOW = datetime.now(UTC).replace(microsecond=0)
GOAL = EventGoal(
    kind="event",
    event_sources=(GoalSource(event_source_id="shop", event_type="refund", value_field="total", value_factor=-1.0),),
    target=GoalTarget("per_ad_spend", 4.0),
    attribution_window=Window(Duration(12, "hours"), Duration(1, "days")),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MediaBuyStore]:
    control = ControlStore(f"sqlite:///{tmp_path}/control.db")
    control.migrate()
    for account_id in ("acme", "globex"):
        AccountStore(control).create(account_id)
    yield MediaBuyStore(control)
    control.close()


def package(package_id: str = "p1", **members: Any) -> Package:
    ordered: dict[str, Any] = {"product_id": "display", "pricing_option_id": "cpm", "budget": 100.5} | members
    return Package(package_id=package_id, **ordered)


def media_buy(media_buy_id: str = "mb_1", **members: Any) -> MediaBuy:
    defaults: dict[str, Any] = {
        "account_id": "acme",
        "currency": "EUR",
        "start_at": NOW - timedelta(days=1),
        "end_at": NOW + timedelta(days=1),
        "created_at": NOW,
        "total_budget": 201.0,
        "packages": (package(goals=(GOAL,), start_at=NOW), package("p2")),
    }
    return MediaBuy(media_buy_id=media_buy_id, **defaults | members)


def test_an_account_may_have_so_many_open_and_new_buys_and_any_number_of_old_ones_that_are_over(
    store: MediaBuyStore,
) -> None:
    long_ago = NOW - timedelta(days=31)
    store.create(media_buy("completed", end_at=NOW - timedelta(hours=1), created_at=long_ago), most=1)
    store.create(media_buy("canceled", canceled_at=NOW, created_at=long_ago), most=1)
    store.create(media_buy("paused", paused=True, created_at=long_ago), most=1)
    store.create(media_buy(account_id="globex"), most=1)

    with pytest.raises(InvalidRequest, match="The account has 1 media buys that are open or were made in the last 30"):
        store.create(media_buy("one more"), most=1)
    assert store.get("acme", "one more") is None


def test_whoever_cancels_a_buy_may_not_make_others_without_end(store: MediaBuyStore) -> None:
    store.create(media_buy("canceled", canceled_at=NOW), most=2)
    store.create(media_buy("over at once", end_at=NOW), most=2)

    with pytest.raises(InvalidRequest, match="canceled ones included"):
        store.create(media_buy("one more"), most=2)


def test_the_buys_of_an_account_may_have_so_many_bytes_together(store: MediaBuyStore) -> None:
    large = {"note": "x" * 9_900}
    store.create(media_buy("old", context=large, canceled_at=NOW, created_at=NOW - timedelta(days=31)), most=2)
    store.create(media_buy("small"), most=2)

    with pytest.raises(InvalidRequest, match="may have 10,000 bytes together"):
        store.create(media_buy("large", context=large), most=2)
    with pytest.raises(InvalidRequest, match="may have 10,000 bytes together"):
        store.update("acme", "small", lambda buy: msgspec.structs.replace(buy, context=large), most=2)

    assert store.get("acme", "large") is None
    assert store.get("acme", "small") == media_buy("small")


def test_the_currencies_of_packages_follow_what_is_bought(store: MediaBuyStore) -> None:
    none = dict(store.package_currencies("acme"))
    store.create(media_buy("mb_1"))
    store.create(media_buy("mb_2", account_id="globex"))
    bought = dict(store.package_currencies("acme"))
    store.create(media_buy("mb_3", currency="USD", packages=(package("p9"),)))
    store.update("acme", "mb_1", lambda buy: msgspec.structs.replace(buy, packages=(*buy.packages, package("p3"))))

    assert none == {}
    assert bought == {("mb_1", "p1"): "EUR", ("mb_1", "p2"): "EUR"}
    assert store.package_currencies("acme") == bought | {("mb_3", "p9"): "USD", ("mb_1", "p3"): "EUR"}


def test_the_packages_whose_numbers_are_final_are_known_at_once(store: MediaBuyStore) -> None:
    store.create(media_buy("mb_1"))
    store.create(media_buy("mb_1", account_id="globex"))
    none = set(store.final_packages("acme"))
    store.finalize("acme", "mb_1", "p2", datetime(2026, 3, 1, tzinfo=UTC))

    assert none == set()
    assert set(store.final_packages("acme")) == {("mb_1", "p2")}
    assert set(store.final_packages("globex")) == set()


def test_a_buy_comes_back_as_it_was_kept(store: MediaBuyStore) -> None:
    ordered = media_buy(name="Autumn", context={"trace": [1]})

    assert store.create(ordered) == ordered
    assert store.get("acme", "mb_1") == ordered
    assert store.get("globex", "mb_1") is None


def test_an_id_is_used_once_in_an_account(store: MediaBuyStore) -> None:
    assert store.create(media_buy())
    assert store.create(media_buy(name="another")) is None
    assert store.create(media_buy(account_id="globex"))


def test_what_happens_along_with_a_change_happens_or_fails_with_it(store: MediaBuyStore) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        store.create(media_buy(), in_transaction=fail)
    unmade = store.get("acme", "mb_1")
    store.create(media_buy())
    with pytest.raises(RuntimeError):
        store.update("acme", "mb_1", lambda buy: msgspec.structs.replace(buy, paused=True), in_transaction=fail)

    assert unmade is None
    assert store.get("acme", "mb_1") == media_buy()


def test_attribution_sees_the_packages_that_count_conversions(store: MediaBuyStore) -> None:
    store.create(media_buy(canceled_at=NOW))

    [(bought, counting)] = store.goals("acme")

    assert (bought.media_buy_id, counting.package_id) == ("mb_1", "p1")
    [goal] = counting.goals
    assert (goal.post_click_seconds, goal.post_view_seconds) == (43_200, 86_400)
    assert goal == GOAL


def test_a_goal_without_windows_has_the_sellers() -> None:
    goal = EventGoal(kind="event")

    assert (goal.post_click_seconds, goal.post_view_seconds) == (30 * 86_400, 86_400)


def test_every_change_of_an_accounts_buys_is_numbered(store: MediaBuyStore) -> None:
    assert store.changes() == {}
    store.create(media_buy())
    store.create(media_buy("mb_2"))
    store.create(media_buy(account_id="globex"))
    assert store.changes() == {"acme": 2, "globex": 1}

    store.finalize("acme", "mb_1", "p1", NOW)
    assert store.changes() == {"acme": 3, "globex": 1}


def test_numbers_become_final_once(store: MediaBuyStore) -> None:
    store.create(media_buy())

    store.finalize("acme", "mb_1", "p1", NOW)
    store.finalize("acme", "mb_1", "p1", NOW + timedelta(days=1))

    bought = store.get("acme", "mb_1")
    assert bought is not None
    assert [p.finalized_at for p in bought.packages] == [NOW, None]
    assert bought.revision == 1


@pytest.mark.parametrize(
    ("status", "members"),
    [
        ("active", {}),
        ("pending_start", {"start_at": NOW + timedelta(hours=1)}),
        ("paused", {"paused": True, "start_at": NOW + timedelta(hours=1)}),
        ("completed", {"paused": True, "end_at": NOW}),
        ("canceled", {"canceled_at": NOW, "end_at": NOW}),
    ],
)
def test_status_is_what_the_dates_make_it(store: MediaBuyStore, status: str, members: dict[str, Any]) -> None:
    store.create(media_buy(**members))

    [bought] = store.find(["acme"], statuses=[status])

    assert bought.status == status


def test_the_newest_come_first_page_by_page(store: MediaBuyStore) -> None:
    for account_id, number in (("acme", 1), ("globex", 1), ("acme", 2), ("acme", 3)):
        created_at = NOW + timedelta(seconds=number // 3)
        store.create(media_buy(f"mb_{number}", account_id=account_id, created_at=created_at))

    first = store.find(["acme", "globex"], limit=2)
    rest = store.find(["acme", "globex"], after=first[-1].position)

    assert [(b.account_id, b.media_buy_id) for b in first + rest] == [
        ("acme", "mb_3"),
        ("acme", "mb_1"),
        ("acme", "mb_2"),
        ("globex", "mb_1"),
    ]
