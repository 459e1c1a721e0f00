"""A buyer's agent changes, holds and ends what it bought."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import DOORS, Door, call
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid, unique_key
from tests.integration.orders import CPA, ROAS, buy, found, package

if TYPE_CHECKING:
    from tests.conftest import Server


def update(seller: Server, bought: dict[str, Any], door: Door = "rest", **change: Any) -> dict[str, Any]:
    known = {"media_buy_id": bought["media_buy_id"], "idempotency_key": unique_key()}
    return call(seller, door, "update_media_buy", known | {"account": {"account_id": "default"}} | change)


def refusal(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(error["details"]["reason"], error["field"]) for error in answer["errors"]]


def shown(seller: Server, bought: dict[str, Any]) -> dict[str, Any]:
    return found(seller, media_buy_ids=[bought["media_buy_id"]])[0]


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_a_buy_is_paused_resumed_and_canceled(seller: Server, door: Door, release: str | None) -> None:
    bought = buy(seller, package(CPA))

    for change, status, first_action in (
        ({"paused": True}, "paused", ["resume"]),
        ({"paused": False}, "active", ["pause"]),
        ({"canceled": True, "cancellation_reason": "no budget"}, "canceled", []),
    ):
        answer = update(seller, bought, door, **change, **pinned(release))
        assert answer["media_buy_status"] == status
        assert answer["valid_actions"][:1] == first_action
        assert shown(seller, bought)["status"] == status
        refuse_unless_valid("update_media_buy", answer, release)

    ended = shown(seller, bought)
    assert ended["cancellation"]["reason"] == "no budget"
    assert ended["revision"] == 4


def test_budgets_dates_and_goals_change(seller: Server) -> None:
    bought = buy(seller, package(ROAS), package())
    first, second = (line["package_id"] for line in bought["packages"])

    answer = update(
        seller,
        bought,
        name="Winter",
        end_time="2098-12-31T00:00:00Z",
        packages=[
            {"package_id": first, "budget": 7000.5, "optimization_goals": [CPA], "paused": True},
            {"package_id": second, "canceled": True},
        ],
        new_packages=[package(CPA, budget=1000)],
    )

    after = shown(seller, bought)
    assert answer["revision"] == after["revision"] == 2
    assert [line["package_id"] for line in answer["affected_packages"]] == [
        first,
        second,
        f"{bought['media_buy_id']}_3",
    ]
    assert (after["name"], after["end_time"], after["total_budget"]) == ("Winter", "2098-12-31T00:00:00Z", 8000.5)
    assert after["packages"][0]["optimization_goals"][0]["target"] == {"kind": "cost_per", "value": 35}
    assert after["packages"][1]["canceled"] is True


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "unknown buy": ({"media_buy_id": "nowhere", "paused": True}, ("MEDIA_BUY_NOT_FOUND", "media_buy_id")),
    "unknown package": (
        {"packages": [{"package_id": "nowhere", "budget": 1}]},
        ("PACKAGE_NOT_FOUND", "packages[0].package_id"),
    ),
    "old revision": ({"revision": 7, "paused": True}, ("CONFLICT", "revision")),
    "start of a running buy": ({"start_time": "2098-01-01T00:00:00Z"}, ("INVALID_STATE", "start_time")),
    "end in the past": ({"end_time": "2020-01-01T00:00:00Z"}, ("INVALID_REQUEST", "end_time")),
    "end of a package in the past": (
        {"packages": [{"package_id": "{first}", "end_time": "2020-01-01T00:00:00Z"}]},
        ("INVALID_REQUEST", "packages[0].end_time"),
    ),
    "total in another currency": (
        {"total_budget": {"amount": 5000, "currency": "EUR"}},
        ("INVALID_REQUEST", "total_budget.currency"),
    ),
    "total that is no sum": (
        {
            "total_budget": {"amount": 6000, "currency": "USD"},
            "packages": [{"package_id": "{first}", "budget": 9000}],
        },
        ("VALIDATION_ERROR", "total_budget.amount"),
    ),
    "cancellation and a change": ({"canceled": True, "paused": True}, ("VALIDATION_ERROR", "paused")),
    "cancellation of a package and a change": (
        {"packages": [{"package_id": "{first}", "canceled": True, "budget": 1}]},
        ("VALIDATION_ERROR", "packages[0].budget"),
    ),
    "package_id that is taken": (
        {"new_packages": [package(ext={"postback": {"package_id": "{first}"}})]},
        ("INVALID_REQUEST", "new_packages[0].ext.postback.package_id"),
    ),
    "canceled taken back": ({"canceled": False}, ("INVALID_REQUEST", "canceled")),
    "what can't be followed": ({"daily_budget_cap": 5}, ("UNSUPPORTED_FIELD", "daily_budget_cap")),
    "another currency": (
        {"new_packages": [package(pricing_option_id="auction_cpm_eur")]},
        ("INVALID_REQUEST", "new_packages[0].pricing_option_id"),
    ),
    "negative budget": ({"packages": [{"package_id": "x", "budget": -1}]}, ("INVALID_REQUEST", "packages[0].budget")),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_change_that_cannot_be_made_changes_nothing(seller: Server, what: str) -> None:
    bought = buy(seller)
    change, why = REFUSED[what]
    change = json.loads(json.dumps(change).replace("{first}", bought["packages"][0]["package_id"]))

    answer = update(seller, bought, **change)

    assert refusal(answer) == [why]
    assert shown(seller, bought)["revision"] == 1
    refuse_unless_valid("update_media_buy", answer, None)


@pytest.mark.parametrize("release", DIALECTS)
def test_a_new_total_scales_every_budget(seller: Server, release: str | None) -> None:
    bought = buy(seller, package(budget=60_000), package(budget=40_000), package(budget=5000))
    first, second, third = (line["package_id"] for line in bought["packages"])
    update(seller, bought, packages=[{"package_id": third, "canceled": True}])

    answer = update(seller, bought, "rest", **pinned(release), total_budget={"amount": 50_000, "currency": "USD"})

    assert answer["total_budget"] == 50_000
    assert [(line["package_id"], line["budget"]) for line in answer["affected_packages"]] == [
        (first, 30_000),
        (second, 20_000),
    ]
    assert [line["budget"] for line in shown(seller, bought)["packages"]] == [30_000, 20_000, 5000]
    refuse_unless_valid("update_media_buy", answer, release)


def test_a_total_beside_other_changes_must_be_what_they_come_to(seller: Server) -> None:
    bought = buy(seller)
    change = {"package_id": bought["packages"][0]["package_id"], "budget": 7000}

    answer = update(seller, bought, packages=[change], total_budget={"amount": 7000, "currency": "USD"})

    assert answer["total_budget"] == 7000


def test_a_share_below_what_its_price_asks_for_is_refused(seller: Server) -> None:
    dear = package(product_id="sandbox_video_fixed", pricing_option_id="fixed_cpm_usd", budget=5000)
    bought = buy(seller, dear)

    answer = update(seller, bought, total_budget={"amount": 0.01, "currency": "USD"})

    assert refusal(answer) == [("BUDGET_TOO_LOW", "total_budget.budget")]


def test_counted_package_ids_pass_over_those_that_are_taken(seller: Server) -> None:
    ours = f"order-{unique_key()}"
    own = {"postback": {"package_id": f"{ours}_1"}}

    bought = buy(seller, package(ext=own), package(), ext={"postback": {"media_buy_id": ours}})
    answer = update(seller, bought, new_packages=[package()])

    ids = [line["package_id"] for line in bought["packages"] + answer["affected_packages"]]
    assert ids == [f"{ours}_1", f"{ours}_2", f"{ours}_3"]


def test_the_flights_of_a_buy_and_its_packages_agree(seller: Server) -> None:
    flight: dict[str, Any] = {"start_time": "2098-01-01T00:00:00Z", "end_time": "2099-01-01T00:00:00Z"}
    summer = package(start_time="2098-06-01T00:00:00Z", end_time="2098-07-01T00:00:00Z")
    bought = buy(seller, summer, package(), **flight)
    _, second = (line["package_id"] for line in bought["packages"])

    short = update(seller, bought, end_time="2098-03-01T00:00:00Z")
    late = update(seller, bought, start_time="2098-08-01T00:00:00Z")
    before = update(seller, bought, packages=[{"package_id": second, "end_time": "2097-01-01T00:00:00Z"}])

    assert [error["code"] for error in short["errors"] + late["errors"]] == ["INVALID_REQUEST"] * 2
    assert refusal(before) == [("INVALID_REQUEST", "packages[0].end_time")]


def test_a_buy_does_not_grow_without_bound(seller: Server) -> None:
    bought = buy(seller, *[package() for _ in range(499)])

    answer = update(seller, bought, new_packages=[package(), package()])

    assert refusal(answer) == [("INVALID_REQUEST", "new_packages")]


def test_what_changes_nothing_is_no_revision(seller: Server) -> None:
    bought = buy(seller)

    answer = update(seller, bought, paused=False)

    assert (answer["status"], answer["revision"]) == ("completed", 1)


def test_a_misspelt_change_is_told_what_can_change(seller: Server) -> None:
    bought = buy(seller)
    misspelt = {"package_id": bought["packages"][0]["package_id"], "buget": 3}

    of_buy = update(seller, bought, pause=True)["adcp_error"]
    of_package = update(seller, bought, packages=[misspelt])["adcp_error"]

    assert of_buy["message"] == "The call changes nothing."
    assert "paused" in of_buy["suggestion"]
    assert of_package["field"] == "packages[0]"
    assert "budget" in of_package["suggestion"]


def test_a_retry_is_answered_whatever_has_happened_since(seller: Server) -> None:
    bought = buy(seller)
    more: dict[str, Any] = {"idempotency_key": unique_key(), "new_packages": [package()]}

    first = update(seller, bought, **more)
    update(seller, bought, canceled=True)
    again = update(seller, bought, **more)

    assert again["replayed"] is True
    assert again["affected_packages"] == first["affected_packages"]
    assert len(shown(seller, bought)["packages"]) == 2


def test_a_goal_and_targeting_of_a_package_are_checked(seller: Server) -> None:
    bought = buy(seller)
    package_id = bought["packages"][0]["package_id"]
    wrong = CPA | {"event_sources": [{"event_source_id": "nowhere", "event_type": "lead"}]}

    goals = update(seller, bought, packages=[{"package_id": package_id, "optimization_goals": [wrong]}])
    targeting = update(seller, bought, packages=[{"package_id": package_id, "targeting_overlay": {}}])

    at = "packages[0].optimization_goals[0].event_sources[0].event_source_id"
    assert refusal(goals) == [("INVALID_REQUEST", at)]
    assert refusal(targeting) == [("UNSUPPORTED_FIELD", "packages[0].targeting_overlay")]


def test_a_package_stays_within_its_buy(seller: Server) -> None:
    bought = buy(seller)
    package_id = bought["packages"][0]["package_id"]

    late = update(seller, bought, packages=[{"package_id": package_id, "end_time": "2099-12-31T00:00:00Z"}])
    longer = update(
        seller,
        bought,
        end_time="2100-06-30T00:00:00Z",
        packages=[{"package_id": package_id, "end_time": "2099-12-31T00:00:00Z"}],
    )

    assert refusal(late) == [("INVALID_REQUEST", "packages[0].end_time")]
    assert longer["affected_packages"][0]["end_time"] == "2099-12-31T00:00:00Z"


def test_a_bid_on_a_fixed_price_means_nothing(seller: Server) -> None:
    fixed = package(product_id="sandbox_video_fixed", pricing_option_id="fixed_cpm_usd", bid_price=7.5)
    bought = buy(seller, fixed)
    package_id = bought["packages"][0]["package_id"]

    answer = update(seller, bought, packages=[{"package_id": package_id, "bid_price": 9, "budget": 900}])

    assert "bid_price" not in bought["packages"][0]
    assert "bid_price" not in answer["affected_packages"][0]


def test_what_has_ended_stays_as_it_is(seller: Server) -> None:
    bought = buy(seller)
    update(seller, bought, canceled=True)

    assert refusal(update(seller, bought, canceled=True)) == [("NOT_CANCELLABLE", "canceled")]
    assert refusal(update(seller, bought, paused=True)) == [("INVALID_STATE", "media_buy_id")]


def test_a_retry_gets_the_first_answer_and_another_call_does_not(seller: Server) -> None:
    bought = buy(seller)
    change: dict[str, Any] = {"idempotency_key": unique_key(), "canceled": True}

    first = update(seller, bought, **change)
    again = update(seller, bought, **change)
    other = update(seller, bought, **(change | {"cancellation_reason": "other"}))

    assert first["media_buy_status"] == "canceled"
    assert again["replayed"] is True
    assert other["adcp_error"].keys() == {"code", "message"}


def test_changes_made_at_once_all_happen(seller: Server) -> None:
    bought = buy(seller)
    package_id = bought["packages"][0]["package_id"]

    with ThreadPoolExecutor(8) as pool:
        budgets = range(1000, 1008)
        change = lambda budget: update(seller, bought, packages=[{"package_id": package_id, "budget": budget}])  # noqa: E731
        revisions = [answer["revision"] for answer in pool.map(change, budgets)]

    assert sorted(revisions) == list(range(2, 10))


def test_somebody_elses_buy_is_not_found(seller: Server) -> None:
    bought = buy(seller)
    seller.command("accounts", "create", f"other-{bought['media_buy_id']}")
    key = seller.command("keys", "create", "--account", f"other-{bought['media_buy_id']}")
    change = {"media_buy_id": bought["media_buy_id"], "idempotency_key": unique_key(), "canceled": True}

    answer = call(seller, "rest", "update_media_buy", change, Authorization=f"Bearer {key}")

    assert answer["adcp_error"]["code"] == "MEDIA_BUY_NOT_FOUND"
    assert shown(seller, bought)["status"] == "active"


COARSE = {"pause", "cancel", "update_budget", "update_dates", "update_packages", "add_packages"}
FINE = {
    "pause",
    "cancel",
    "extend_flight",
    "shorten_flight",
    "increase_budget",
    "decrease_budget",
    "reallocate_budget",
    "update_pacing",
    "add_packages",
    "remove_packages",
}
LISTED = {None: (COARSE, FINE), "3.0": (COARSE, set()), "3.1": (FINE, FINE)}
LISTED["3.2"] = (FINE | {"update_name"}, FINE | {"update_name"})


@pytest.mark.parametrize("release", DIALECTS)
def test_what_can_be_done_is_listed_in_words_of_the_release(seller: Server, release: str | None) -> None:
    bought = buy(seller, package(CPA), package())

    answer = call(seller, "rest", "get_media_buys", pinned(release) | {"media_buy_ids": [bought["media_buy_id"]]})

    refuse_unless_valid("get_media_buys", answer, release)
    [described] = answer["media_buys"]
    listed = {action["action"] for action in described.get("available_actions", ())}
    assert (set(described["valid_actions"]), listed) == LISTED[release]
    assert {action["mode"] for action in described.get("available_actions", ())} <= {"self_serve"}


def changes(bought: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each action that AdCP 3.2 knows of those that can be listed here → a change that is one."""
    first, second = (line["package_id"] for line in bought["packages"])
    return {
        "pause": {"paused": True},
        "resume": {"paused": False},
        "extend_flight": {"end_time": "2099-12-31T00:00:00Z"},
        "shorten_flight": {"end_time": "2098-12-31T00:00:00Z"},
        "update_flight_dates": {"start_time": "2097-02-01T00:00:00Z"},
        "increase_budget": {"packages": [{"package_id": first, "budget": 6000}]},
        "decrease_budget": {"packages": [{"package_id": first, "budget": 4000}]},
        "reallocate_budget": {
            "packages": [{"package_id": first, "budget": 3000}, {"package_id": second, "budget": 6000}]
        },
        "update_pacing": {"packages": [{"package_id": first, "pacing": "asap"}]},
        "update_name": {"name": "Spring"},
        "add_packages": {"new_packages": [package(CPA)]},
        "remove_packages": {"packages": [{"package_id": second, "canceled": True}]},
        "cancel": {"canceled": True},
    }


@pytest.mark.parametrize(
    ("start", "paused"), [("asap", False), ("asap", True), ("2097-01-01T00:00:00Z", False)], ids=str
)
def test_exactly_what_is_listed_can_be_done(seller: Server, start: str, paused: bool) -> None:
    bought = buy(seller, package(CPA), package(), start_time=start, paused=paused)
    wanted = changes(bought)
    if paused:
        del wanted["pause"]  # which changes nothing

    for action, change in wanted.items():
        [described] = found(seller, adcp_version="3.2", media_buy_ids=[bought["media_buy_id"]])
        offered = {entry["action"] for entry in described["available_actions"]}
        done = update(seller, bought, **change)["status"] == "completed"
        assert (action, done) == (action, action in offered)


def test_nothing_of_packages_is_listed_when_none_is_left(seller: Server) -> None:
    bought = buy(seller, package())
    [line] = bought["packages"]

    answer = update(seller, bought, adcp_version="3.1", packages=[{"package_id": line["package_id"], "canceled": True}])

    assert set(answer["valid_actions"]) == {"pause", "cancel", "extend_flight", "shorten_flight", "add_packages"}


def test_a_package_with_final_numbers_stays_as_it_is(seller: Server) -> None:
    ended = package(start_time="2026-01-01T00:00:00Z", end_time="2026-02-01T00:00:00Z")
    registered = {"postback": {"media_buy_id": "mb_of_another_agent"}}
    bought = buy(seller, ended, start_time="2026-01-01T00:00:00Z", ext=registered)
    [line] = bought["packages"]
    place = f"media-buys/{bought['media_buy_id']}/packages/{line['package_id']}/finalize"
    assert call(seller, "rest", place, {})["is_final"] is True

    extended = {"package_id": line["package_id"], "end_time": "2098-01-01T00:00:00Z"}
    assert refusal(update(seller, bought, packages=[extended])) == [("INVALID_STATE", "packages[0].package_id")]
    total = {"amount": 6000, "currency": "USD"}
    assert refusal(update(seller, bought, total_budget=total)) == [("INVALID_STATE", "total_budget")]
    [described] = found(seller, adcp_version="3.1", media_buy_ids=[bought["media_buy_id"]])
    assert "increase_budget" not in described["valid_actions"]


def test_a_conflict_and_a_small_budget_say_the_numbers(seller: Server) -> None:
    bought = buy(seller, package())

    conflict = update(seller, bought, paused=True, revision=7)["adcp_error"]
    fixed = {"product_id": "sandbox_video_fixed", "pricing_option_id": "fixed_cpm_usd", "budget": 1}
    small = update(seller, bought, new_packages=[fixed])["adcp_error"]

    assert conflict["details"] == {"reason": "CONFLICT", "current_version": 1, "expected_version": 7}
    assert small["details"] == {"reason": "BUDGET_TOO_LOW", "minimum_budget": 500, "currency": "USD"}
