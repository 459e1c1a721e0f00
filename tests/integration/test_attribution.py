"""Attribution gives what the docs say, whatever the order in which things arrive, and the same when it is rebuilt."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.business_event_reference import Event, Exposure, parse
from tests.conftest import examples
from tests.engine import select
from tests.integration.attribution_history import HOUR_US, START, History, Stores, key, looking, opened

from postback.attribution.account_runs import Limits
from postback.attribution.comparison import compare
from postback.attribution.state import StateStore
from postback.attribution.statements import DerivedStore
from postback.errors import StoreUnavailable
from postback.media_buys.goals import EventGoal, GoalSource
from postback.store.leases import Lease


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with opened(tmp_path_factory.mktemp("attribution")) as stores:
        yield stores


def test_any_history_gives_what_the_rules_say_at_once_and_rebuilt(stores: Stores) -> None:
    """A few; python -m tests.integration.attribution_history has as many as one likes."""
    histories: list[History] = []
    examples(6)(looking(stores, histories))()
    attributed = [history for history in histories if history.outcomes()]
    assert len(attributed) > 2
    dumps = [history.dump() for history in attributed]
    # They lie in one store, so one rebuild derives each of them anew, to the byte.
    stores.attribution().rebuild()
    assert [history.dump() for history in attributed] == dumps


def _goals(*named: tuple[str, str]) -> tuple[EventGoal, ...]:
    """A goal that names these sources and types, with the value of each event."""
    entries = (GoalSource(event_source_id=source, event_type=kind, value_field="value") for source, kind in named)
    return (EventGoal(kind="event", event_sources=tuple(entries)),) if named else ()


_PURCHASE, _REFUND = ("web", "purchase"), ("web", "refund")


@pytest.mark.parametrize("limits", [Limits(), Limits(1, 1, 1)], ids=["at once", "one by one"])
@pytest.mark.parametrize(
    ("before", "after", "other"),
    [
        pytest.param([_PURCHASE], [("app", "purchase")], [], id="another source"),
        pytest.param([_PURCHASE], [("web", "lead")], [], id="another type"),
        pytest.param([_PURCHASE], [], [], id="none, and no other package has any"),
        pytest.param([_PURCHASE], [], [_PURCHASE], id="none, and another package has the same"),
        pytest.param([_PURCHASE, _REFUND], [_PURCHASE], [], id="refunds no longer"),
        pytest.param([_PURCHASE, _REFUND], [], [_PURCHASE, _REFUND], id="none, and refunds follow to another package"),
    ],
)
def test_what_counted_for_goals_that_are_replaced_counts_no_longer(
    stores: Stores, limits: Limits, before: list[Any], after: list[Any], other: list[Any]
) -> None:
    history = History(stores, limits)
    history.buy("m0", "USD", [_goals(*before), _goals(*other)])
    moment = int(START.timestamp()) * 1_000_000
    history.receive(*(Exposure(f"x{n}", "click", moment + n, 0, ("m0", f"p{1 - n}"), (key(1, 1),)) for n in range(2)))
    data = parse('{"currency":"USD","value":12.5,"order_id":"o1"}')
    for number in "123":
        history.receive(Event("web", "purchase", number, moment + 9, 0, (key(1, 1),), "", "website", data))
    history.receive(Event("web", "refund", "4", moment + 9, 0, (), "", "website", data))
    history.attribution.catch_up()
    counted = history.hours()[1]
    assert counted
    history.set_goals("m0", "p0", _goals(*after))

    history.attribution.catch_up()

    assert history.hours()[1] != counted
    history.check()


def test_what_arrives_while_numbers_become_final_is_not_in_them(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(stores, Limits())
    history.buy("m0", "USD", [_goals(_PURCHASE), ()])
    moment = int(START.timestamp()) * 1_000_000
    history.receive(*(Exposure(f"x{n}", "click", moment, 0, ("m0", f"p{n}"), (key(1, 1),)) for n in range(2)))
    catch_up = history.attribution.catch_up

    for package in (("m0", "p0"), ("m0", "p1")):  # one that has goals, and one that has none

        def catches_up_before_more_arrives(package: tuple[str, str] = package) -> None:
            catch_up()
            stores.stamp = int(datetime.now(UTC).timestamp() * 1_000_000)
            history.receive(Exposure(f"late-{package}", "click", moment, 0, package, (key(1, 1),)))

        with monkeypatch.context() as patch:
            patch.setattr(history.attribution, "catch_up", catches_up_before_more_arrives)
            history.finalize(*package)
    history.attribution.catch_up()

    history.check()
    assert sum(clicks for _, clicks, _ in history.hours()[0].values()) == 2


def test_lists_of_a_rebuild_that_keeps_outcomes_are_those_of_its_runs(stores: Stores) -> None:
    history = History(stores, Limits())
    history.buy("m0", "USD", [_goals(_PURCHASE)] * 3)
    moment = int(START.timestamp()) * 1_000_000
    for number in range(1, 6):
        history.receive(
            Exposure(f"x{number}", "click", moment, 0, ("m0", "p0"), (key(1, number),)),
            Event("web", "purchase", f"{number}", moment + 9, 0, (key(1, number),)),
        )
        history.attribution.catch_up()
    history.finalize("m0", "p2")  # so that outcomes are kept
    history.attribution.rebuild()
    history.receive(Exposure("y", "click", moment + 1, 0, ("m0", "p1"), (key(1, 5),)))
    history.attribution.catch_up()

    stores.events.deriver.command("OPTIMIZE TABLE attributed_event FINAL")

    listed = (
        "SELECT event_id, package_id FROM attributed_event WHERE account_id = {account_id:String} ORDER BY event_id"
    )
    assert stores.rows(listed, history.account_id) == [*((number, "p0") for number in "1234"), ("5", "p1")]


def test_a_factor_of_many_digits_holds_nobody_up(stores: Stores) -> None:
    history = History(stores, Limits())
    source = GoalSource(event_source_id="web", event_type="purchase", value_field="value", value_factor=1e12)
    history.buy("m0", "USD", [(EventGoal(kind="event", event_sources=(source,)),)])
    moment = int(START.timestamp()) * 1_000_000
    history.receive(Exposure("x1", "click", moment, 0, ("m0", "p0"), (key(1, 1),)))
    history.receive(
        Event("web", "purchase", "1", moment, 0, (key(1, 1),), "", "website", parse('{"currency":"USD","value":12.5}'))
    )

    history.attribution.catch_up()

    history.check()


@pytest.mark.parametrize(
    "statement", ["known_exposures", "sum_exposures", "resolve_outcomes", "sum_conversions", "commit_outcomes"]
)
@pytest.mark.parametrize("done", [False, True])
def test_a_run_that_breaks_off_counts_nothing_twice(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, statement: str, done: bool
) -> None:
    history = History(stores, Limits())
    goal = EventGoal(
        kind="event", event_sources=(GoalSource(event_source_id="web", event_type="purchase", value_field="value"),)
    )
    history.buy("m0", "USD", [(goal,)])
    moment = int(START.timestamp()) * 1_000_000
    history.receive(Exposure("x1", "click", moment, 0, ("m0", "p0"), (key(1, 1),), "c1", Decimal("1.25"), "USD"))
    history.receive(
        Event("web", "purchase", "1", moment, 0, (key(1, 1),), "", "website", parse('{"currency":"USD","value":12.5}'))
    )
    run = DerivedStore.run

    def broken(store: DerivedStore, name: str, **parameters: object) -> None:
        if name != statement or done:
            run(store, name, **parameters)
        if name == statement:
            raise StoreUnavailable("The event store is not available.")

    with monkeypatch.context() as patch:
        patch.setattr(DerivedStore, "run", broken)
        with pytest.raises(StoreUnavailable):
            history.attribution.catch_up()
    history.attribution.catch_up()
    history.check()


def test_thousands_of_refunds_of_one_order_are_each_compared_once(stores: Stores) -> None:
    history = History(stores, Limits())
    sources = [
        GoalSource(event_source_id="web", event_type=event_type, value_field="value")
        for event_type in ("purchase", "refund")
    ]
    history.buy("m0", "USD", [(EventGoal(kind="event", event_sources=tuple(sources)),)])
    moment = int(START.timestamp()) * 1_000_000
    history.receive(Exposure("x1", "click", moment, 0, ("m0", "p0"), (key(1, 1),)))
    # Pair by pair they would be 10^8.
    for event_type, value in (("purchase", 12.5), ("refund", 0.001)):
        stores.events.deriver.command(
            "INSERT INTO event (account_id, event_source_id, event_type, event_id, event_time, received_at, "
            "custom_data, match_keys) SELECT {account_id:String}, 'web', {type:String}, "
            "concat({type:String}, toString(number)), "
            "fromUnixTimestamp64Micro(toInt64({moment:UInt64} + number), 'UTC'), "
            "fromUnixTimestamp64Micro(toInt64({stamp:UInt64} + number), 'UTC'), {data:String}, [{key:String}] "
            "FROM numbers(10000)",
            parameters={
                "account_id": history.account_id,
                "type": event_type,
                "moment": moment,
                "stamp": stores.stamp + 1,
                "data": json.dumps({"value": value, "currency": "USD", "order_id": "same-for-all"}),
                "key": key(1, 1).decode("latin-1"),
            },
        )
        stores.stamp += 10_000
    history.attribution.catch_up()

    conversions, values, _ = zip(*history.hours()[1].values(), strict=True)
    assert (sum(conversions), sum(values)) == (10_000, Decimal("12.5") * 10_000 - 10)
    undone = stores.rows(
        "SELECT DISTINCT purchase_id FROM attribution FINAL "
        "WHERE account_id = {account_id:String} AND event_type = 'refund'",
        history.account_id,
    )
    assert undone == [("purchase0",)]


def test_sums_of_a_run_whose_outcomes_were_not_stored_are_taken_back(stores: Stores) -> None:
    history = History(stores, Limits())
    goal = EventGoal(
        kind="event", event_sources=(GoalSource(event_source_id="web", event_type="purchase", value_field="value"),)
    )
    history.buy("m0", "USD", [(goal,)])
    moment = int(START.timestamp()) * 1_000_000
    history.receive(Exposure("x1", "click", moment, 0, ("m0", "p0"), (key(1, 1),)))
    data = parse('{"currency":"USD","value":12.5}')
    history.receive(Event("web", "purchase", "1", moment, 0, (key(1, 1),), "", "website", data))
    history.attribution.catch_up()
    # As the release before left it that was killed after it had added a run's sums.
    states = StateStore(stores.control, Lease(stores.control, "attribution"))
    state, _, _ = states.load()[history.account_id]
    states.save(history.account_id, state, msgspec.structs.replace(state, run_id=state.run_id + 1), "conversions")
    stores.events.deriver.command(
        "INSERT INTO conversion_hour (account_id, media_buy_id, package_id, hour, event_type, conversions, run_id) "
        "VALUES ({account_id:String}, 'm0', 'p0', '2026-10-01 00:00:00', 'purchase', 7, {run_id:UInt64})",
        parameters={"account_id": history.account_id, "run_id": state.run_id + 1},
    )

    stores.attribution().catch_up()

    history.check()


def test_sums_of_an_earlier_release_are_told_apart_by_source(stores: Stores) -> None:
    history = History(stores, Limits())
    goal = EventGoal(
        kind="event",
        event_sources=tuple(
            GoalSource(event_source_id=source, event_type=kind, value_field="value")
            for source in ("web", "crm")
            for kind in ("purchase", "refund")
        ),
    )
    history.buy("m0", "USD", [(goal,)])
    moment = int(START.timestamp()) * 1_000_000
    history.receive(Exposure("x1", "click", moment, 0, ("m0", "p0"), (key(1, 1),)))
    data = parse('{"currency":"USD","value":12.5}')
    for source, number in (("web", "1"), ("crm", "2")):
        history.receive(Event(source, "purchase", number, moment, 0, (key(1, 1),), "", "website", data))
    history.receive(Event("crm", "refund", "2", moment, 0, (), "", "website", parse('{"currency":"USD","value":2.5}')))
    history.attribution.catch_up()
    columns = (
        "account_id, media_buy_id, package_id, hour, event_type, action_source, creative_id, value_reason, "
        "left_out_currency"
    )
    own = "account_id = {account_id:String}"
    for statement in (
        f"INSERT INTO conversion_hour ({columns}, conversions, value, left_out, left_out_events) "
        f"SELECT {columns}, sum(conversions), sum(value), sum(left_out), sum(left_out_events) FROM conversion_hour "
        f"WHERE {own} GROUP BY {columns}",
        f"DELETE FROM conversion_hour WHERE {own} AND event_source_id != ''",
    ):
        stores.events.deriver.command(statement, parameters={"account_id": history.account_id})
    with pytest.raises(AssertionError):
        history.check()

    stores.attribution().catch_up()

    history.check()


def test_an_index_of_exposures_that_is_lost_or_stale_is_derived_anew(stores: Stores) -> None:
    history = History(stores, Limits())
    goal = EventGoal(kind="event", event_sources=(GoalSource(event_source_id="web", event_type="purchase"),))
    history.buy("m0", "USD", [(goal,)])
    moment = int(START.timestamp()) * 1_000_000
    folder = stores.folder / "derived" / hashlib.sha256(history.account_id.encode()).hexdigest()[:32]
    older = stores.folder / "older"
    for number in range(3):
        history.receive(Exposure(f"x{number}", "click", moment, 0, ("m0", "p0"), (key(1, number),)))
        history.attribution.catch_up()
        if number == 0:
            shutil.copytree(folder, older)
        if number == 1:
            shutil.rmtree(folder)
        if number == 2:
            shutil.rmtree(folder)
            older.rename(folder)
        history.receive(Event("web", "purchase", str(number), moment, 0, (key(1, number),)))
        history.attribution = stores.attribution()
        history.attribution.catch_up()
        history.check()


def test_a_comparison_tells_what_would_change_and_changes_nothing(stores: Stores, tmp_path: Path) -> None:
    history = History(stores, Limits())
    sources = [
        GoalSource(event_source_id="web", event_type=event_type, value_field="value")
        for event_type in ("purchase", "refund")
    ]
    goal = EventGoal(kind="event", event_sources=tuple(sources))
    history.buy("m0", "USD", [(goal,), (goal,)])
    moment = int(START.timestamp()) * 1_000_000
    for number, package in enumerate(("p0", "p1"), 1):
        history.receive(Exposure(f"x{number}", "click", moment, 0, ("m0", package), (key(1, number),)))
        data = parse('{"currency":"USD","value":80}')
        history.receive(Event("web", "purchase", str(number), moment, 0, (key(1, number),), data=data))
    history.attribution.catch_up()
    before = history.dump()
    history.receive(Event("web", "refund", "1", moment, 0, (), data=parse('{"currency":"USD","value":30}')))

    changes = [c for c in compare(stores.events, stores.media_buys, tmp_path) if c.account_id == history.account_id]

    assert [change.changes for change in changes] == [True, False]
    assert changes[0][2:] == ("p0", 1, Decimal(80), 1, Decimal(50))
    assert history.dump() == before
    assert select(stores.events, "SELECT name FROM system.databases WHERE name = 'comparison'") == []
    history.attribution.catch_up()
    assert history.hours()[1][("m0", "p0", moment // HOUR_US * HOUR_US, "purchase", "", "", "web")][:2] == (
        1,
        Decimal(50),
    )
