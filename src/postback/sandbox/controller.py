"""comply_test_controller: lets official runners bring about what they test (compliance/comply-test-controller-*.json).

It exists in sandboxes only. Its failures are answers of their own shape: ``{"success": false, "error": ...}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar, cast

import msgspec
from msgspec import Meta

from postback.errors import InvalidRequest, RequestError
from postback.media_buys.buys import MediaBuy
from postback.media_buys.products import Product
from postback.principal import Account
from postback.protocol.enums import AccountStatus
from postback.sandbox.admission import named_account
from postback.sandbox.catalogue import SandboxCatalogue
from postback.sandbox.seeds import (
    BuyFixture,
    FixtureError,
    read_fixture,
    seeded_account,
    seeded_buy,
    seeded_price,
    seeded_product,
)
from postback.sandbox.simulations import SimulatedDay, Viewability
from postback.sandbox.statuses import FORCED, account_transition, forced
from postback.sandbox.traffic import fits, recorded_call
from postback.shapes import departure
from postback.times import rfc3339

if TYPE_CHECKING:
    from postback.services import Services
    from postback.tasks import TaskCall

__all__ = ["comply_test_controller", "scenarios"]

_USUAL_CALLS, _MOST_CALLS = 100, 1_000

_Count = Annotated[int, Meta(ge=0, le=10**15)]
_Amount = Annotated[float, Meta(ge=0, le=1e15)]
_Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}\Z")]
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


class _Spend(msgspec.Struct, frozen=True):
    """An amount that was spent (params.reported_spend)."""

    amount: _Amount
    currency: str


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
        if request.account.get("sandbox") is False or not all(a.sandbox for a in call.principal.accounts):
            raise _Refused("FORBIDDEN", "The controller is for callers all of whose accounts are sandboxes.")
        if request.scenario == "list_scenarios":
            return {"success": True, "scenarios": scenarios(call.services)}
        if request.scenario not in scenarios(call.services):
            raise _Refused("UNKNOWN_SCENARIO", f"Known scenarios: {', '.join(scenarios(call.services))}.")
        run = SCENARIOS[request.scenario]
        answer = await asyncio.to_thread(run, _Scenario(call, request.params))
        return {"success": True, **answer}
    except _Refused as refused:
        return refused.answer
    except FixtureError as error:
        return _Refused("INVALID_PARAMS", str(error)).answer


class _Scenario:
    """A scenario's call: its parameters, and what it works on."""

    def __init__(self, call: TaskCall, params: Mapping[str, Any]) -> None:
        self.call = call
        self.services = call.services
        self.catalogue = cast("SandboxCatalogue", call.services.catalogue)  # the controller exists in sandboxes only
        self.params = params

    def param(self, name: str, shape: Any) -> Any:
        """A parameter that the scenario needs."""
        if self.params.get(name) is None:
            raise _Refused("INVALID_PARAMS", f"params.{name} is required.")
        return self.optional(name, shape)

    def optional(self, name: str, shape: Any, default: Any = None) -> Any:
        """A parameter of this shape, or the default."""
        value = self.params.get(name)
        if value is None:
            return default
        try:
            return msgspec.convert(value, shape)
        except msgspec.ValidationError as error:
            path, wrong = departure(str(error))
            raise _Refused("INVALID_PARAMS", f"params.{name}{path}: {wrong}.") from None

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

    def owners(self, ref: Mapping[str, Any] | None) -> Sequence[Account]:
        """The account of this reference, or of the call's; all of the caller's when neither names one."""
        ref = ref or self.call.arguments.value("account") or {}
        if "account_id" not in ref and "brand" not in ref:
            return self.call.principal.accounts
        try:
            return [named_account(self.services, self.call.principal, ref)]
        except RequestError as error:
            raise _Refused("INVALID_PARAMS", error.message) from None


def _seed_product(scenario: _Scenario) -> dict[str, Any]:
    product_id = scenario.param("product_id", str)
    fixture = scenario.fixture()

    def seeded(known: Product | None) -> Product:
        return seeded_product(product_id, fixture, known)

    scenario.catalogue.seed(product_id, seeded, priced=bool(fixture.get("pricing_options")))
    return {"message": f"Product {product_id} is on offer."}


def _seed_pricing_option(scenario: _Scenario) -> dict[str, Any]:
    product_id = scenario.param("product_id", str)
    option_id = scenario.param("pricing_option_id", str)

    def priced(known: Product | None) -> Product:
        return seeded_price(option_id, scenario.fixture(), known or seeded_product(product_id, {}, None))

    scenario.catalogue.price(product_id, priced)
    return {"message": f"Product {product_id} has the pricing option {option_id}."}


def _seed_account(scenario: _Scenario) -> dict[str, Any]:
    account_id = scenario.param("account_id", _Id)
    wanted = seeded_account(account_id, scenario.fixture())
    accounts = scenario.services.accounts
    if any(account.account_id == account_id for account in scenario.call.principal.accounts):
        accounts.change(account_id, status=wanted.status)
    else:
        try:
            made = accounts.provision(scenario.call.principal.key_id, wanted)
        except InvalidRequest as error:
            raise _Refused("INVALID_STATE", error.message) from None
        if made.account_id != account_id:
            raise _Refused("INVALID_STATE", f"The account {made.account_id} has this brand and operator already.")
    scenario.services.keys.forget()
    return {"message": f"Account {account_id} is {wanted.status}."}


def _seed_media_buy(scenario: _Scenario) -> dict[str, Any]:
    media_buy_id = scenario.param("media_buy_id", _Id)
    fixture = read_fixture(scenario.fixture(), BuyFixture)
    buys = scenario.services.media_buys
    for account in scenario.owners(fixture.account):
        buy = seeded_buy(scenario.catalogue, account.account_id, media_buy_id, fixture)
        if buys.create(buy) and fixture.status:
            _force(scenario, buy, fixture.status)
    return {"message": f"Media buy {media_buy_id} is there."}


def _force_account_status(scenario: _Scenario) -> dict[str, Any]:
    account = scenario.account()
    status: AccountStatus = scenario.param("status", AccountStatus)

    def check(before: Account) -> None:
        if not account_transition(before.status, status):
            _refuse_transition(before.status, status)

    before = scenario.services.accounts.move(account.account_id, status, check)
    scenario.services.keys.forget()
    return {"previous_state": before.status, "current_state": status}


def _force_media_buy_status(scenario: _Scenario) -> dict[str, Any]:
    buy = scenario.buy()
    status = scenario.param("status", str)
    if status not in FORCED:
        raise _Refused("INVALID_PARAMS", f"A media buy here has one of the statuses {', '.join(FORCED)}.")
    return {"previous_state": _force(scenario, buy, status), "current_state": status}


def _force(scenario: _Scenario, buy: MediaBuy, status: str) -> str:
    """Give a media buy a status; returns the one that it had."""
    previous: str = buy.status

    def changed(before: MediaBuy) -> MediaBuy:
        nonlocal previous
        previous = before.status
        return forced(before, status) or _refuse_transition(before.status, status)

    scenario.services.media_buys.change(buy.account_id, buy.media_buy_id, changed)
    return previous


def _simulate_delivery(scenario: _Scenario) -> dict[str, Any]:
    buy = scenario.buy()
    spend = scenario.optional("reported_spend", _Spend)
    if spend and spend.currency != buy.currency:
        raise _Refused("INVALID_PARAMS", f"params.reported_spend.currency must be the media buy's, {buy.currency}.")
    value = scenario.optional("conversion_value", _Amount)
    day = SimulatedDay(
        impressions=scenario.optional("impressions", _Count, 0),
        clicks=scenario.optional("clicks", _Count, 0),
        spend=Decimal(str(spend.amount)) if spend else Decimal(0),
        conversions=scenario.optional("conversions", _Count),
        conversion_value=None if value is None else Decimal(str(value)),
    )
    when = scenario.optional("delivery_date", date, datetime.now(UTC).date())
    viewability = scenario.optional("viewability", Viewability)
    whole = scenario.services.simulations.deliver(buy, when, day, viewability).total()
    return {"simulated": _told(day, buy.currency), "cumulative": _told(whole, buy.currency)}


def _query_upstream_traffic(scenario: _Scenario) -> dict[str, Any]:
    since = scenario.optional("since_timestamp", datetime, datetime(2000, 1, 1, tzinfo=UTC))
    if since.tzinfo is None:
        raise _Refused("INVALID_PARAMS", "params.since_timestamp must have an offset.")
    mode = scenario.optional("attestation_mode", Literal["raw", "digest"], "raw")
    limit = scenario.optional("limit", int, _USUAL_CALLS)
    if not 1 <= limit <= _MOST_CALLS:
        raise _Refused("INVALID_PARAMS", f"params.limit must lie from 1 to {_MOST_CALLS:,}.")
    pattern = scenario.optional("endpoint_pattern", str, "*")
    digests = scenario.optional("identifier_value_digests", list[str], [])
    calls = scenario.services.forwarding.sent(scenario.call.principal.key_id, since)
    fitting = [call for call in calls if fits(call, pattern)]
    return {
        "recorded_calls": [recorded_call(call, mode, digests) for call in fitting[:limit]],
        "total_count": len(fitting),
        "truncated": len(fitting) > limit,
        "since_timestamp": rfc3339(since),
    }


def _simulate_budget_spend(scenario: _Scenario) -> dict[str, Any]:
    buy = scenario.buy()
    percentage = scenario.param("spend_percentage", Annotated[float, Meta(ge=0, le=100)])
    target = Decimal(str(buy.total_budget)) * Decimal(str(percentage)) / 100
    scenario.services.simulations.spend(buy, datetime.now(UTC).date(), target)
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
    """The scenarios that a sandbox has: traffic to an upstream only where one takes all of AdCP's."""
    return [name for name in SCENARIOS if name != "query_upstream_traffic" or services.forwarding.declares]


def _refuse_transition(before: str, after: str) -> NoReturn:
    raise _Refused("INVALID_TRANSITION", f"What is {before} can't become {after}.", current_state=before)


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
