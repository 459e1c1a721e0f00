"""A goal in a place or a spelling that would be passed over is refused; a field that means something else is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postback.media_buys.goal_spellings import misspelt_goals

WEEK = {"interval": 7, "unit": "days"}
GOAL: dict[str, Any] = {
    "kind": "event",
    "event_sources": [{"event_source_id": "shop", "event_type": "purchase", "value_field": "order_total"}],
    "target": {"kind": "per_ad_spend", "value": 4},
    "attribution_window": {"post_click": WEEK},
    "priority": 1,
}
AT_GOAL = "packages[0].optimization_goals[0]"


def found(call: dict[str, Any], release: str | None = "3.2", *packages: str) -> list[str | None]:
    """The fields that are refused."""
    return [error.field for error in misspelt_goals(call, release, packages or ("packages",))]


def with_goal(**fields: Any) -> dict[str, Any]:
    return {"packages": [{"product_id": "p", "optimization_goals": [GOAL | fields]}]}


@pytest.mark.parametrize(
    "window",
    [
        {"click_through": "7d"},
        {"click_through": WEEK, "view_through": WEEK},
        {"clickThrough": WEEK},
        {"postClick": WEEK},
        {"post-click": WEEK},
        {"PostView": WEEK},
        {"click_window": WEEK},
        {"view_through_window": "1d"},
        {"click_days": 7},
        {"click": 7},
        {"views": WEEK},
        {"post_impression": WEEK},
        {"engaged_view": WEEK},
        {"lookback_window": WEEK},
        {"lookback_days": 7},
        {"duration": WEEK},
        {"interval": 7, "unit": "days"},
        {"days": 7},
        {"window": "7d"},
        {"attribution_model": "last_touch"},
        {"7d_click": True},
    ],
    ids=lambda window: next(iter(window)),
)
def test_a_window_in_another_spelling_is_refused_alone_and_beside_a_valid_one(window: dict[str, Any]) -> None:
    for beside in ({}, {"post_click": WEEK}, {"post_view": WEEK, "model": "last_touch"}):
        fields = found(with_goal(attribution_window=window | beside))

        assert len(fields) == len(window)
        assert all(str(field).startswith(f"{AT_GOAL}.attribution_window") for field in fields)


def test_the_field_that_is_wrong_is_named_with_the_one_to_send() -> None:
    (error,) = misspelt_goals(with_goal(attribution_window={"view_through": "1d"}), "3.2")

    assert error.field == f"{AT_GOAL}.attribution_window.view_through"
    assert error.suggestion == 'Send post_view, for example {"post_view": {"interval": 7, "unit": "days"}}.'


@pytest.mark.parametrize(
    ("window", "release", "accepted"),
    [
        ({}, "3.0", False),
        ({}, "3.2", False),
        ({}, None, False),
        ({"post_click": None, "model": None}, "3.2", False),
        ({"ext": {}}, "3.2", False),
        ({"model": "last_touch"}, "3.0", False),
        ({"model": "last_touch"}, "3.1", True),
        ({"model": "last_touch"}, "3.2", True),
        ({"post_click": WEEK}, "3.0", True),
        ({"post_view": WEEK}, "3.0", True),
        ({"post_view": WEEK, "ext": {"a": 1}, "note": "x", "reviewed_by": "ann"}, "3.2", True),
    ],
)
def test_a_window_needs_a_kind_or_from_3_1_on_a_model(window: Any, release: str | None, accepted: bool) -> None:
    assert found(with_goal(attribution_window=window), release) == (
        [] if accepted else [f"{AT_GOAL}.attribution_window"]
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimization_goal", GOAL),
        ("optimization_goal", "conversions"),
        ("optimizationGoals", [GOAL]),
        ("OptimizationGoals", [GOAL]),
        ("optimisation_goals", [GOAL]),
        ("optimization-goals", [GOAL]),
        ("goals", [GOAL]),
        ("goal", GOAL),
        ("conversion_goals", [GOAL]),
        ("event_goals", [GOAL]),
        ("conversion_events", ["purchase"]),
        ("conversionEvents", ["purchase"]),
        ("event_sources", GOAL["event_sources"]),
        ("event_source_id", "shop"),
        ("attribution_window", {"post_click": WEEK}),
        ("post_click_window", "7d"),
        ("post_click", WEEK),
        ("click_window", WEEK),
        ("optimization", {"goal": GOAL}),
        ("attribution", {"window": WEEK}),
    ],
)
def test_goals_where_packages_and_media_buys_have_no_such_field_are_refused(name: str, value: Any) -> None:
    assert found({"packages": [{}, {name: value}]}) == [f"packages[1].{name}"]
    assert found({"packages": [{}], name: value}) == [name]
    assert found({"new_packages": [{name: value}]}, "3.2", "packages", "new_packages") == [f"new_packages[0].{name}"]


def test_goals_at_the_media_buy_are_refused_but_not_those_of_its_allocation() -> None:
    assert found({"optimization_goals": [GOAL], "packages": [{}]}) == ["optimization_goals"]
    assert found({"budget_allocation": {"mode": "seller_optimized", "optimization_goals": [GOAL]}}) == []


@pytest.mark.parametrize(
    "name",
    [
        *("attributionWindow", "attribution_windows", "window", "click_window", "post_click", "view_through"),
        *("lookback_window", "conversion_window", "attribution_model", "eventSources", "event_source_id", "event_type"),
        *("conversion_events", "events", "value_field", "valueFactor", "target_cpa", "targetRoas", "targets"),
    ],
)
def test_a_part_of_a_goal_in_another_spelling_is_refused(name: str) -> None:
    assert found(with_goal(**{name: "x"})) == [f"{AT_GOAL}.{name}"]


@pytest.mark.parametrize("name", ["valueField", "value_path", "value", "valueFactor", "multiplier", "event_name"])
def test_a_part_of_an_entry_of_event_sources_too(name: str) -> None:
    source = {"event_source_id": "shop", "event_type": "custom", "custom_event_name": "c", name: "total"}

    assert found(with_goal(event_sources=[source])) == [f"{AT_GOAL}.event_sources[0].{name}"]


@pytest.mark.parametrize(
    "call",
    [
        with_goal(),
        with_goal(ext={"click_through": 1}, note="post_click", label="x", weight=1, name="Purchases", context={}),
        {"packages": [{"optimization_goals": None, "goals": None, "targeting_overlay": {"goals": [{}]}}]},
        {
            "packages": [
                {"committed_metrics": [], "performance_standards": [], "bidding": {"roas": {}}, "pacing": "even"}
            ]
        },
        {"packages": [{"goal": "awareness"}], "campaign_goal": "sell bikes", "goals": ["reach", "sales"]},
        {"packages": [{"ext": {"optimization_goal": GOAL}, "context": {"goals": [GOAL]}}], "ext": {"goals": [GOAL]}},
        {"packages": "all", "goals": []},
        {"packages": [7, None, {"optimization_goals": [None, 7, {"kind": "metric", "window": "x"}]}]},
        {"packages": [{"optimization_goals": [{"kind": "metric", "target_frequency": {"window": WEEK}, "click": 1}]}]},
        {"po_number": "1", "advertiser_industry": "retail", "measurement_terms": {}, "opportunity": {"goals": [{}]}},
    ],
)
def test_what_means_something_else_is_accepted(call: dict[str, Any]) -> None:
    assert found(call) == []


@given(st.text(min_size=1, max_size=40))
def test_a_name_that_may_be_a_value_is_never_repeated(name: str) -> None:
    digits = f"{name}4915112345678@shop.example_click"

    errors = [
        *misspelt_goals(with_goal(attribution_window={digits: 1}), "3.2"),
        *misspelt_goals({digits: [GOAL]}, "3.2"),
    ]

    assert errors
    assert all("4915112345678" not in f"{error.field}{error.message}{error.suggestion}" for error in errors)
