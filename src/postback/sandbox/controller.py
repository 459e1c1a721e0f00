"""comply_test_controller: lets official runners bring about what they test (compliance/comply-test-controller-*.json).

It exists in sandboxes only. Its failures are answers of their own shape: ``{"success": false, "error": ...}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import msgspec

from postback.accounts.store import AccountStore
from postback.errors import InvalidRequest
from postback.media_buys.buys import MediaBuy
from postback.principal import Account
from postback.protocol.enums import AccountStatus
from postback.sandbox.seeds import seeded_account, seeded_buy, seeded_price, seeded_product
from postback.sandbox.simulations import SimulatedDay
from postback.sandbox.statuses import FORCED, account_transition, forced
from postback.sandbox.traffic import recorded_call
from postback.times import rfc3339

if TYPE_CHECKING:
    from postback.services import Services
    from postback.tasks import TaskCall

__all__ = ["comply_test_controller", "scenarios"]

_MOST_CALLS = 100

_T = TypeVar("_T")


class _Refused(Exception):
    """A scenario that fails, with one of the controller's error codes."""

    def __init__(self, code: str, detail: str, **more: str) -> None:
        super().__init__(detail)
        self.answer = {"success": False, "error": code, "error_detail": detail, **more}


class _Request(msgspec.Struct, frozen=True):
    scenario: str
    params: dict[str, Any] = {}
    account: dict[str, Any] = {}


async def comply_test_controller(call: TaskCall) -> dict[str, Any]:
    """Run one scenario.

    Returns:
        compliance/comply-test-controller-response.json, without the envelope; also when the scenario fails.

    Raises:
        InvalidRequest: No scenario is named.
        StoreUnavailable: The control store doesn't take it.
    """
    request = call.arguments.to(_Request)
    try:
        if request.account.get("sandbox") is False:
            raise _Refused("FORBIDDEN", "The controller works on sandbox accounts only.")
        if request.scenario == "list_scenarios":
            return {"success": True, "scenarios": scenarios(call.services)}
        if request.scenario not in scenarios(call.services):
            raise _Refused("UNKNOWN_SCENARIO", f"Known scenarios: {', '.join(scenarios(call.services))}.")
        run = SCENARIOS[request.scenario]
        answer = await asyncio.to_thread(run, _Scenario(call, request.params))
        return {"success": True, **answer}
    except _Refused as refused:
        return refused.answer


class _Scenario:
    """A scenario's call: its parameters, and what it works on."""

    def __init__(self, call: TaskCall, params: Mapping[str, Any]) -> None:
        self.call = call
        self.services = call.services
        self.params = params

    def param(self, name: str, shape: type[_T]) -> _T:
        """A parameter that the scenario needs."""
        if self.params.get(name) is None:
            raise _Refused("INVALID_PARAMS", f"params.{name} is required.")
        value: _T = self.optional(name, shape)
        return value

    def optional(self, name: str, shape: Any, default: Any = None) -> Any:
        """A parameter of this shape, or the default."""
        value = self.params.get(name)
        if value is None:
            return default
        try:
            return msgspec.convert(value, shape)
        except msgspec.ValidationError:
            raise _Refused("INVALID_PARAMS", f"params.{name} is not of the type that it must have.") from None

    def fixture(self) -> dict[str, Any]:
        """What is seeded."""
        fixture: dict[str, Any] = self.optional("fixture", dict[str, Any], {})
        return fixture

    def buy(self) -> MediaBuy:
        """The media buy that is named."""
        account_ids = [account.account_id for account in self.call.principal.accounts]
        found = self.services.media_buys.find(account_ids, [self.param("media_buy_id", str)])
        if not found:
            raise _Refused("NOT_FOUND", "params.media_buy_id names no media buy of yours.")
        return found[0]

    def account(self) -> Account:
        """The account that is named."""
        account_id = self.param("account_id", str)
        for account in self.call.principal.accounts:
            if account.account_id == account_id:
                return account
        raise _Refused("NOT_FOUND", "params.account_id names no account of yours.")


def _seed_product(scenario: _Scenario) -> dict[str, Any]:
    product_id = scenario.param("product_id", str)
    catalogue = scenario.services.catalogue
    product = _filled(lambda: seeded_product(product_id, scenario.fixture(), catalogue.get(product_id)))
    scenario.services.simulations.keep_product(catalogue.seed(product))
    return {"message": f"Product {product_id} is on offer."}


def _seed_pricing_option(scenario: _Scenario) -> dict[str, Any]:
    product_id = scenario.param("product_id", str)
    option_id = scenario.param("pricing_option_id", str)
    catalogue = scenario.services.catalogue
    known = catalogue.get(product_id) or _filled(lambda: seeded_product(product_id, {}, None))
    product = _filled(lambda: seeded_price(option_id, scenario.fixture(), known))
    scenario.services.simulations.keep_product(catalogue.seed(product))
    return {"message": f"Product {product_id} has the pricing option {option_id}."}


def _seed_account(scenario: _Scenario) -> dict[str, Any]:
    account_id = scenario.param("account_id", str)
    wanted = _filled(lambda: seeded_account(account_id, scenario.fixture()))
    accounts: AccountStore = scenario.services.accounts
    if any(account.account_id == account_id for account in scenario.call.principal.accounts):
        accounts.change(account_id, status=wanted.status)
    else:
        try:
            accounts.provision(scenario.call.principal.key_id, wanted)
        except InvalidRequest as error:
            raise _Refused("INVALID_STATE", error.message) from None
    scenario.services.keys.forget()
    return {"message": f"Account {account_id} is {wanted.status}."}


def _seed_media_buy(scenario: _Scenario) -> dict[str, Any]:
    media_buy_id = scenario.param("media_buy_id", str)
    fixture = scenario.fixture()
    status = fixture.get("status", "active")
    if status not in FORCED:
        raise _Refused("INVALID_PARAMS", f"A media buy here has one of the statuses {', '.join(FORCED)}.")
    for account in scenario.call.principal.accounts:
        buy = _filled(lambda: seeded_buy(scenario.services, account.account_id, media_buy_id, fixture))  # noqa: B023
        if scenario.services.media_buys.create(buy) and status != buy.status:
            scenario.services.media_buys.change(account.account_id, media_buy_id, lambda b: forced(b, status) or b)
    return {"message": f"Media buy {media_buy_id} is {status}."}


def _force_account_status(scenario: _Scenario) -> dict[str, Any]:
    account = scenario.account()
    status: AccountStatus = scenario.optional("status", AccountStatus)
    if status is None:
        raise _Refused("INVALID_PARAMS", "params.status is required.")
    if not account_transition(account.status, status):
        _refuse_transition(account.status, status)
    scenario.services.accounts.change(account.account_id, status=status)
    scenario.services.keys.forget()
    return {"previous_state": account.status, "current_state": status}


def _force_media_buy_status(scenario: _Scenario) -> dict[str, Any]:
    buy = scenario.buy()
    status = scenario.param("status", str)
    if status not in FORCED:
        raise _Refused("INVALID_PARAMS", f"A media buy here has one of the statuses {', '.join(FORCED)}.")

    def changed(before: MediaBuy) -> MediaBuy:
        return forced(before, status) or _refuse_transition(before.status, status)

    scenario.services.media_buys.change(buy.account_id, buy.media_buy_id, changed)
    return {"previous_state": buy.status, "current_state": status}


def _simulate_delivery(scenario: _Scenario) -> dict[str, Any]:
    buy = scenario.buy()
    spend = scenario.optional("reported_spend", dict[str, Any], {})
    if spend and spend.get("currency") != buy.currency:
        raise _Refused("INVALID_PARAMS", f"params.reported_spend.currency must be the media buy's, {buy.currency}.")
    conversions = scenario.optional("conversions", int)
    value = scenario.optional("conversion_value", float)
    day = SimulatedDay(
        impressions=scenario.optional("impressions", int, 0),
        clicks=scenario.optional("clicks", int, 0),
        spend=Decimal(str(_amount(spend))),
        conversions=conversions,
        conversion_value=None if value is None else Decimal(str(value)),
    )
    if min(day.impressions, day.clicks, day.spend, conversions or 0, value or 0) < 0:
        raise _Refused("INVALID_PARAMS", "What is simulated can't be negative.")
    when = scenario.optional("delivery_date", date, datetime.now(UTC).date())
    viewability = scenario.optional("viewability", dict[str, Any])
    whole = scenario.services.simulations.deliver(buy, when, day, viewability).total()
    return {"simulated": _told(day, buy.currency), "cumulative": _told(whole, buy.currency)}


def _query_upstream_traffic(scenario: _Scenario) -> dict[str, Any]:
    since = scenario.optional("since_timestamp", datetime, datetime(2000, 1, 1, tzinfo=UTC))
    if since.tzinfo is None:
        raise _Refused("INVALID_PARAMS", "params.since_timestamp must have an offset.")
    mode = scenario.optional("attestation_mode", Literal["raw", "digest"], "raw")
    account_ids = [account.account_id for account in scenario.call.principal.accounts]
    calls = scenario.services.forwarding.sent(account_ids, since)
    pattern = scenario.optional("endpoint_pattern", str, "*")
    fitting = [call for call in calls if fnmatchcase(f"POST {call.url}", pattern)]
    limit = min(scenario.optional("limit", int, _MOST_CALLS), _MOST_CALLS)
    digests = scenario.optional("identifier_value_digests", list[str], [])
    return {
        "recorded_calls": [recorded_call(call, mode, digests) for call in fitting[: max(limit, 0)]],
        "total_count": len(fitting),
        "truncated": len(fitting) > limit,
        "since_timestamp": rfc3339(since),
    }


def _simulate_budget_spend(scenario: _Scenario) -> dict[str, Any]:
    buy = scenario.buy()
    percentage = scenario.param("spend_percentage", float)
    if not 0 <= percentage <= 100:
        raise _Refused("INVALID_PARAMS", "params.spend_percentage must lie from 0 to 100.")
    simulations = scenario.services.simulations
    target = Decimal(str(buy.total_budget)) * Decimal(str(percentage)) / 100
    known = simulations.deliveries([buy]).get((buy.account_id, buy.media_buy_id))
    spent = known.total().spend if known else Decimal(0)
    simulations.deliver(buy, datetime.now(UTC).date(), SimulatedDay(spend=target - spent))
    budget = {"amount": buy.total_budget, "currency": buy.currency}
    spend = {"amount": float(target), "currency": buy.currency}
    return {"simulated": {"spend_percentage": percentage, "computed_spend": spend, "budget": budget}}


SCENARIOS: dict[str, Callable[[_Scenario], dict[str, Any]]] = {
    "force_account_status": _force_account_status,
    "force_media_buy_status": _force_media_buy_status,
    "query_upstream_traffic": _query_upstream_traffic,
    "seed_account": _seed_account,
    "seed_media_buy": _seed_media_buy,
    "seed_pricing_option": _seed_pricing_option,
    "seed_product": _seed_product,
    "simulate_budget_spend": _simulate_budget_spend,
    "simulate_delivery": _simulate_delivery,
}
"""Every scenario, beside list_scenarios."""


def scenarios(services: Services) -> list[str]:
    """The scenarios that a sandbox has: traffic to an upstream only where there is one."""
    return [name for name in SCENARIOS if name != "query_upstream_traffic" or services.forwarding.configured]


def _filled(fill: Callable[[], _T]) -> _T:
    try:
        return fill()
    except (ValueError, TypeError, AttributeError):
        raise _Refused("INVALID_PARAMS", "params.fixture says something that can't be.") from None


def _refuse_transition(before: str, after: str) -> NoReturn:
    raise _Refused("INVALID_TRANSITION", f"What is {before} can't become {after}.", current_state=before)


def _amount(spend: Mapping[str, Any]) -> float:
    try:
        return msgspec.convert(spend.get("amount", 0), float)
    except msgspec.ValidationError:
        raise _Refused("INVALID_PARAMS", "params.reported_spend.amount must be a number.") from None


def _told(day: SimulatedDay, currency: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "impressions": day.impressions,
        "clicks": day.clicks,
        "reported_spend": {"amount": float(day.spend), "currency": currency},
    }
    if day.conversions is not None:
        told["conversions"] = day.conversions
    if day.conversion_value is not None:
        told["conversion_value"] = float(day.conversion_value)
    return told
