"""POST /v1/delivery: hourly totals of packages, from sellers without exposure logs.

The latest total of a package, hour and creative wins. Totals for a package and hour replace what was counted from
exposures.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.accounts.references import AccountArgument, resolve_account
from postback.events.rejection import Rejection
from postback.events.warnings import EXPOSURE_WARNINGS, group_warnings
from postback.exposures.registered import PackageCurrencies, registration_warnings
from postback.exposures.validate import check_money, check_name, read_carefully, trimmed_currency
from postback.protocol.batch_items import MAX_ITEMS, items_of
from postback.protocol.canonical_json import canonical_json
from postback.protocol.json_schema import documented, published_as
from postback.store.rows import Rows
from postback.tasks.batches import ItemFailure, item_failure
from postback.tasks.call import LogCall, Payload, TaskCall
from postback.tasks.task import Task

__all__ = ["REPORT_DELIVERY", "HourTotal", "ReportTotalsRequest", "ReportTotalsResponse", "report_totals"]

_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_Count = Annotated[int, Meta(ge=0, lt=2**53)]
_FINAL = (
    "The numbers of this package are final, and a total would change them. Leave its totals out, and finalize a "
    "package after its last total."
)
"""It is refused on receipt, since a total takes the place of an older one, which the store doesn't keep."""

_LAST_HOUR = datetime.fromisoformat("2106-01-01T00:00:00+00:00")


class DescribedTotal(msgspec.Struct, gc=False, omit_defaults=True):
    """What one package, or one creative of it, delivered in the hour that begins at ``hour``, as it is published."""

    media_buy_id: Annotated[_Name, Meta(description="The media buy that it belongs to.")]
    package_id: Annotated[_Name, Meta(description="The package.")]
    hour: Annotated[
        datetime, Meta(tz=True, description="The full hour that begins then, UTC, for example 2026-01-15T14:00:00Z.")
    ]
    impressions: Annotated[_Count, Meta(description="Impressions.")]
    clicks: Annotated[_Count, Meta(description="Clicks.")]
    spend: Annotated[float, documented("What they cost.", minimum=0)]
    currency: Annotated[str, documented("ISO 4217 code, for example USD.", pattern="^[A-Z]{3}$")]
    creative_id: Annotated[_Name, Meta(description="What was shown.")] | None = None


class HourTotal(DescribedTotal, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """The same as it is decoded: money is exact."""

    spend: Decimal  # type: ignore[assignment] # JSON Schema knows no decimals


class ReportTotalsRequest(msgspec.Struct):
    """The call's own arguments. The array stays raw: one bad total must not fail the rest."""

    totals: Annotated[
        msgspec.Raw,
        published_as(
            Annotated[list[DescribedTotal], Meta(min_length=1, max_length=MAX_ITEMS, description="The totals.")]
        ),
    ]
    account: AccountArgument = None


class ReportTotalsResponse(msgspec.Struct, kw_only=True):
    """The response, without the envelope."""

    message: Annotated[str, Meta(description="How many were accepted.")]
    totals_received: Annotated[int, documented("Totals in the call.", minimum=0)]
    totals_processed: Annotated[int, documented("Totals accepted.", minimum=0)]
    partial_failures: Annotated[
        list[ItemFailure] | UnsetType, Meta(description="The totals that were not accepted.")
    ] = UNSET
    warnings: Annotated[list[str] | UnsetType, Meta(description="What should be better.")] = UNSET


async def report_totals(call: TaskCall) -> Payload:
    """Validate, store and acknowledge one batch of totals.

    Returns:
        A ReportTotalsResponse, also when every total failed.

    Raises:
        InvalidRequest, BatchTooLarge: The request is not a valid batch.
        AccountRequired, AccountNotFound, AccountAmbiguous: The reference doesn't match exactly one account.
        IdempotencyConflict: The key was used for another call.
        Overloaded, StoreUnavailable: Nothing was acknowledged.
    """
    services = call.services
    request = call.arguments.to(ReportTotalsRequest)
    raws = [bytes(raw) for raw in items_of(request.totals, "totals")]
    account_id = resolve_account(call.principal, request.account).account_id
    services.limits.hit_events(call.principal.key_id, len(raws))
    final = await services.threads.ingestion.run(services.media_buys.final_packages, account_id)
    registered = await services.threads.ingestion.run(services.media_buys.package_currencies, account_id)
    result = await services.threads.compute.run(_validate_all, raws, registered, final)

    async def store(log: LogCall) -> ReportTotalsResponse:
        failures = [
            ItemFailure(**item_failure("totals", index, rejection, call.release)) for index, rejection in result.failed
        ]
        response = ReportTotalsResponse(
            message=f"{len(result.accepted):,} of {len(raws):,} totals accepted.",
            totals_received=len(raws),
            totals_processed=len(result.accepted),
            partial_failures=failures or UNSET,
            warnings=group_warnings(result.warnings, len(raws), "totals", EXPOSURE_WARNINGS) or UNSET,
        )
        await log(response, _rows(account_id, result.accepted), ())
        return response

    fingerprint = call.arguments.fingerprint({"totals": result.fingerprint})
    # A retry that came late would put old totals in the place of newer ones.
    return await call.once_in_log(account_id, fingerprint, store, repeatable=False)


@dataclass(slots=True)
class _Result:
    """What validation found in a batch.

    Attributes:
        accepted: The totals to store, in their order.
        failed: The others' positions, with the reasons.
        warnings: Code → positions of accepted totals that it is about.
        fingerprint: Digest of the batch's canonical form.
    """

    accepted: list[HourTotal] = field(default_factory=list)
    failed: list[tuple[int, Rejection]] = field(default_factory=list)
    warnings: dict[str, list[int]] = field(default_factory=dict)
    fingerprint: bytes = b""


def _validate_all(raws: list[bytes], registered: PackageCurrencies, final: Set[tuple[str, str]]) -> _Result:
    result = _Result(fingerprint=sha256(b"\n".join(map(canonical_json, raws))).digest())
    money: list[tuple[int, str, str, object, str]] = []
    for index, raw in enumerate(raws):
        codes: list[str] = []
        try:
            total = _validate(raw, codes)
            if (total.media_buy_id, total.package_id) in final:
                raise Rejection("INVALID_STATE", _FINAL, "package_id")
        except Rejection as rejection:
            result.failed.append((index, rejection))
            continue
        result.accepted.append(total)
        money.append((index, total.media_buy_id, total.package_id, total.spend, total.currency))
        for code in codes:
            result.warnings.setdefault(code, []).append(index)
    result.warnings |= registration_warnings(money, registered)
    return result


def _validate(raw: bytes, codes: list[str]) -> HourTotal:
    total: HourTotal = read_carefully(raw, HourTotal, "The total", codes)
    for name in ("media_buy_id", "package_id", "creative_id"):
        check_name(name, getattr(total, name))
    seconds = total.hour.timestamp()
    if seconds % 3600:
        raise Rejection(
            "INVALID_REQUEST",
            "hour must be the start of a full hour in UTC, for example 2026-01-15T14:00:00Z.",
            "hour",
        )
    if seconds < 0 or total.hour >= _LAST_HOUR:
        raise Rejection("INVALID_REQUEST", "hour must be from 1970 to 2105.", "hour")
    currency = trimmed_currency(total.currency, codes)
    spend = check_money(total.spend, currency, "spend")
    return msgspec.structs.replace(total, spend=spend, currency=currency)


def _rows(account_id: str, totals: list[HourTotal]) -> list[Rows]:
    if not totals:
        return []
    columns: dict[str, list[Any]] = {
        name: [getattr(total, name) for total in totals]
        for name in ("media_buy_id", "package_id", "impressions", "clicks", "spend", "currency")
    }
    columns["account_id"] = [account_id] * len(totals)
    columns["hour"] = [int(total.hour.timestamp()) for total in totals]
    columns["creative_id"] = [total.creative_id or "" for total in totals]
    columns["place"] = list(range(len(totals)))  # of two totals in a batch the later one wins
    return [Rows("delivery_total", columns)]


REPORT_DELIVERY = Task(
    name="delivery",
    title="Report totals",
    description="Report what packages delivered by the hour, without logs. The latest total of an hour wins.",
    function=report_totals,
    request=ReportTotalsRequest,
    response=ReportTotalsResponse,
    example={
        "totals": [
            {
                "media_buy_id": "mb_1",
                "package_id": "mb_1_1",
                "hour": "2026-01-15T14:00:00Z",
                "impressions": 120_000,
                "clicks": 340,
                "spend": 512.5,
                "currency": "USD",
            }
        ]
    },
    mutating=True,
    key="optional",
    scope="seller",
)
