"""comply_test_controller: lets official runners set up what they test (compliance/comply-test-controller-*.json).

It exists in sandboxes only. Its errors have a form of their own: ``{"success": false, "error": ...}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NoReturn, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.auth.principal import Account
from postback.errors import InvalidRequest, RequestError
from postback.media_buys.media_buy import MediaBuy
from postback.products.product import Product
from postback.protocol.enums import AccountStatus
from postback.protocol.timestamps import rfc3339
from postback.protocol.type_errors import describe_validation_error
from postback.sandbox.admission import SandboxAdmission
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
from postback.services import Services
from postback.tasks.call import TaskCall
from postback.tasks.task import Task

__all__ = ["COMPLY_TEST_CONTROLLER", "ControllerRequest", "ControllerResponse", "comply_test_controller", "scenarios"]

_USUAL_CALLS, _MOST_CALLS = 100, 1_000

_Count = Annotated[int, Meta(ge=0, le=10**15)]
_Amount = Annotated[float, Meta(ge=0, le=1e15)]
_Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}\Z")]


class _Refused(Exception):
    """A scenario that fails, with one of the controller's error codes."""

    def __init__(self, code: str, detail: str, current_state: str | UnsetType = UNSET) -> None:
        super().__init__(detail)
        self.answer = ControllerResponse(success=False, error=code, error_detail=detail, current_state=current_state)


class ControllerRequest(msgspec.Struct, frozen=True):
    """The task's own arguments (compliance/comply-test-controller-request.json)."""

    scenario: Annotated[str, Meta(description="What to do; list_scenarios lists what there is.")]
    params: Annotated[dict[str, Any], Meta(description="What the scenario needs.")] = {}
    account: Annotated[dict[str, Any], Meta(description="A sandbox account.")] = {}


class Spend(msgspec.Struct, frozen=True):
    """An amount that was spent."""

    amount: Annotated[_Amount, Meta(description="The amount.")]
    currency: Annotated[str, Meta(description="ISO 4217 code.")]


class Simulated(msgspec.Struct, kw_only=True):
    """What a media buy delivered, or spent, by simulation."""

    impressions: Annotated[int | UnsetType, Meta(description="Impressions.")] = UNSET
    clicks: Annotated[int | UnsetType, Meta(description="Clicks.")] = UNSET
    reported_spend: Annotated[Spend | UnsetType, Meta(description="What they cost.")] = UNSET
    conversions: Annotated[int | UnsetType, Meta(description="Conversions.")] = UNSET
    conversion_value: Annotated[float | UnsetType, Meta(description="Their value.")] = UNSET
    spend_percentage: Annotated[float | UnsetType, Meta(description="Share of the budget, in percent.")] = UNSET
    computed_spend: Annotated[Spend | UnsetType, Meta(description="The same as an amount.")] = UNSET
    budget: Annotated[Spend | UnsetType, Meta(description="The media buy's budget.")] = UNSET


class ControllerResponse(msgspec.Struct, kw_only=True):
    """compliance/comply-test-controller-response.json, without the envelope; also of a scenario that fails."""

    success: Annotated[bool, Meta(description="Whether the scenario succeeded.")]
    error: Annotated[str | UnsetType, Meta(description="Why the scenario failed, for programs.")] = UNSET
    error_detail: Annotated[str | UnsetType, Meta(description="The same for people.")] = UNSET
    scenarios: Annotated[list[str] | UnsetType, Meta(description="What there is, of list_scenarios.")] = UNSET
    message: Annotated[str | UnsetType, Meta(description="What was done.")] = UNSET
    previous_state: Annotated[str | UnsetType, Meta(description="The status before.")] = UNSET
    current_state: Annotated[str | UnsetType, Meta(description="The status now.")] = UNSET
    simulated: Annotated[Simulated | UnsetType, Meta(description="What this call simulated.")] = UNSET
    cumulative: Annotated[Simulated | UnsetType, Meta(description="What all calls simulated.")] = UNSET
    recorded_calls: Annotated[
        list[dict[str, Any]] | UnsetType, Meta(description="Requests that were sent to the upstream.")
    ] = UNSET
    total_count: Annotated[int | UnsetType, Meta(description="How many requests fit.")] = UNSET
    truncated: Annotated[bool | UnsetType, Meta(description="Whether more fit than are listed.")] = UNSET
    since_timestamp: Annotated[str | UnsetType, Meta(description="Since when requests are listed.")] = UNSET


async def comply_test_controller(call: TaskCall) -> ControllerResponse:
    """Run one scenario.

    Returns:
        A ControllerResponse, also when the scenario fails.

    Raises:
        InvalidRequest: No scenario is named.
        StoreUnavailable: The control store rejects the write.
    """
    request = call.arguments.to(ControllerRequest)
    try:
        if request.account.get("sandbox") is False or not all(a.sandbox for a in call.principal.accounts):
            raise _Refused(
                "FORBIDDEN", "The controller requires a key whose accounts are all sandbox accounts. Use another key."
            )
        if request.scenario == "list_scenarios":
            return ControllerResponse(success=True, scenarios=scenarios(call.services))
        if request.scenario not in scenarios(call.services):
            raise _Refused("UNKNOWN_SCENARIO", f"scenario must be one of {', '.join(scenarios(call.services))}.")
        run = SCENARIOS[request.scenario]
        if request.scenario == "query_upstream_traffic":
            await call.services.log.flushed()
            await call.services.forwarding.settle(call.principal.key_id)
        return await call.services.threads.control.run(run, _Scenario(call, request.params))
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
            path, wrong = describe_validation_error(str(error))
            raise _Refused("INVALID_PARAMS", f"params.{name}{path} {wrong}.") from None

    def fixture(self) -> dict[str, Any]:
        """What is seeded."""
        fixture: dict[str, Any] = self.optional("fixture", dict[str, Any], {})
        return fixture

    def buy(self) -> MediaBuy:
        """The media buy that is named."""
        account_ids = [account.account_id for account in self.call.principal.accounts]
        found = self.services.media_buys.find(account_ids, [self.param("media_buy_id", str)])
        if not found:
            raise _Refused("NOT_FOUND", "params.media_buy_id does not name one of your media buys.")
        return found[0]

    def account(self) -> Account:
        """The account that is named."""
        account_id = self.param("account_id", str)
        for account in self.call.principal.accounts:
            if account.account_id == account_id:
                return account
        raise _Refused("NOT_FOUND", "params.account_id does not name one of your accounts.")

    def owners(self, ref: Mapping[str, Any] | None) -> Sequence[Account]:
        """The account of this reference, or of the call's; all of the caller's when neither names one."""
        ref = ref or self.call.arguments.value("account") or {}
        if "account_id" not in ref and "brand" not in ref:
            return self.call.principal.accounts
        try:
            return [SandboxAdmission(self.services.accounts, self.services.keys).account(self.call.principal, ref)]
        except RequestError as error:
            raise _Refused("INVALID_PARAMS", error.message) from None


def _seed_product(scenario: _Scenario) -> ControllerResponse:
    product_id = scenario.param("product_id", str)
    fixture = scenario.fixture()

    def seeded(known: Product | None) -> Product:
        return seeded_product(product_id, fixture, known)

    scenario.catalogue.seed(product_id, seeded, priced=bool(fixture.get("pricing_options")))
    return ControllerResponse(success=True, message=f"Product {product_id} is on offer.")


def _seed_pricing_option(scenario: _Scenario) -> ControllerResponse:
    product_id = scenario.param("product_id", str)
    option_id = scenario.param("pricing_option_id", str)

    def priced(known: Product | None) -> Product:
        return seeded_price(option_id, scenario.fixture(), known or seeded_product(product_id, {}, None))

    scenario.catalogue.price(product_id, priced)
    return ControllerResponse(success=True, message=f"Product {product_id} now has the pricing option {option_id}.")


def _seed_account(scenario: _Scenario) -> ControllerResponse:
    account_id = scenario.param("account_id", _Id)
    wanted = seeded_account(account_id, scenario.fixture())
    accounts = scenario.services.accounts
    if any(account.account_id == account_id for account in scenario.call.principal.accounts):
        accounts.update(account_id, status=wanted.status)
    else:
        try:
            made = accounts.provision(scenario.call.principal.key_id, wanted)
        except InvalidRequest as error:
            raise _Refused("INVALID_STATE", error.message) from None
        if made.account_id != account_id:
            raise _Refused("INVALID_STATE", f"The account {made.account_id} has this brand and operator already.")
    scenario.services.keys.clear_cache()
    return ControllerResponse(success=True, message=f"Account {account_id} is {wanted.status}.")


def _seed_media_buy(scenario: _Scenario) -> ControllerResponse:
    media_buy_id = scenario.param("media_buy_id", _Id)
    fixture = read_fixture(scenario.fixture(), BuyFixture)
    buys = scenario.services.media_buys
    for account in scenario.owners(fixture.account):
        buy = seeded_buy(scenario.catalogue, account.account_id, media_buy_id, fixture)
        try:
            created = buys.create(buy, most=scenario.services.settings.media_buys)
        except InvalidRequest as error:
            raise _Refused("INVALID_STATE", error.message) from None
        if created and fixture.status:
            _force(scenario, buy, fixture.status)
    return ControllerResponse(success=True, message=f"Media buy {media_buy_id} exists.")


def _force_account_status(scenario: _Scenario) -> ControllerResponse:
    account = scenario.account()
    status: AccountStatus = scenario.param("status", AccountStatus)

    def check(before: Account) -> None:
        if not account_transition(before.status, status):
            _refuse_transition(before.status, status)

    before = scenario.services.accounts.set_status(account.account_id, status, check)
    scenario.services.keys.clear_cache()
    return ControllerResponse(success=True, previous_state=before.status, current_state=status)


def _force_media_buy_status(scenario: _Scenario) -> ControllerResponse:
    buy = scenario.buy()
    status = scenario.param("status", str)
    if status not in FORCED:
        raise _Refused("INVALID_PARAMS", f"params.status must be one of {', '.join(FORCED)}.")
    previous = _force(scenario, buy, status)
    return ControllerResponse(success=True, previous_state=previous, current_state=status)


def _force(scenario: _Scenario, buy: MediaBuy, status: str) -> str:
    """Give a media buy a status; returns the one that it had."""
    previous: str = buy.status

    def changed(before: MediaBuy) -> MediaBuy:
        nonlocal previous
        previous = before.status
        return forced(before, status) or _refuse_transition(before.status, status)

    scenario.services.media_buys.update(buy.account_id, buy.media_buy_id, changed)
    return previous


def _simulate_delivery(scenario: _Scenario) -> ControllerResponse:
    buy = scenario.buy()
    spend = scenario.optional("reported_spend", Spend)
    if spend and spend.currency != buy.currency:
        raise _Refused("INVALID_PARAMS", f"params.reported_spend.currency must be {buy.currency}, like the media buy.")
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
    simulated, cumulative = _simulated(day, buy.currency), _simulated(whole, buy.currency)
    return ControllerResponse(success=True, simulated=simulated, cumulative=cumulative)


def _query_upstream_traffic(scenario: _Scenario) -> ControllerResponse:
    since = scenario.optional("since_timestamp", datetime, datetime(2000, 1, 1, tzinfo=UTC))
    if since.tzinfo is None:
        raise _Refused("INVALID_PARAMS", "params.since_timestamp must have a UTC offset.")
    mode = scenario.optional("attestation_mode", Literal["raw", "digest"], "raw")
    limit = scenario.optional("limit", int, _USUAL_CALLS)
    if not 1 <= limit <= _MOST_CALLS:
        raise _Refused("INVALID_PARAMS", f"params.limit must be from 1 to {_MOST_CALLS:,}.")
    pattern = scenario.optional("endpoint_pattern", str, "*")
    digests = scenario.optional("identifier_value_digests", list[str], [])
    calls = scenario.services.forwarding.sent(scenario.call.principal.key_id, since)
    fitting = [call for call in calls if fits(call, pattern)]
    return ControllerResponse(
        success=True,
        recorded_calls=[recorded_call(call, mode, digests) for call in fitting[:limit]],
        total_count=len(fitting),
        truncated=len(fitting) > limit,
        since_timestamp=rfc3339(since),
    )


def _simulate_budget_spend(scenario: _Scenario) -> ControllerResponse:
    buy = scenario.buy()
    percentage = scenario.param("spend_percentage", Annotated[float, Meta(ge=0, le=100)])
    target = Decimal(str(buy.total_budget)) * Decimal(str(percentage)) / 100
    scenario.services.simulations.spend(buy, datetime.now(UTC).date(), target)
    simulated = Simulated(
        spend_percentage=percentage,
        computed_spend=Spend(float(target), buy.currency),
        budget=Spend(buy.total_budget, buy.currency),
    )
    return ControllerResponse(success=True, simulated=simulated)


SCENARIOS: dict[str, Callable[[_Scenario], ControllerResponse]] = {
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
    raise _Refused("INVALID_TRANSITION", f"The status can't change from {before} to {after}.", current_state=before)


def _simulated(day: SimulatedDay, currency: str) -> Simulated:
    return Simulated(
        impressions=day.impressions,
        clicks=day.clicks,
        reported_spend=Spend(float(day.spend), currency),
        conversions=UNSET if day.conversions is None else day.conversions,
        conversion_value=UNSET if day.conversion_value is None else float(day.conversion_value),
    )


COMPLY_TEST_CONTROLLER = Task(
    name="comply_test_controller",
    title="Test controller",
    description=(
        "Sandbox only, for official test runners: seed products, prices, accounts and media buys, force statuses, "
        "simulate delivery. The scenario list_scenarios lists what there is."
    ),
    function=comply_test_controller,
    request=ControllerRequest,
    response=ControllerResponse,
    example={"scenario": "list_scenarios"},
    mutating=True,
    failure_defaults={"success": False, "error": "INVALID_PARAMS"},
    sandbox_only=True,
)
