"""POST /v1/delivery: what packages delivered by the hour, from sellers who have totals and no logs.

The latest word on a package, hour and creative wins. Where there are totals for a package and hour, nothing that was
counted from exposures is added to them.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from postback.accounts.references import resolve_account
from postback.exposures.judge import check_money, check_name, read_carefully
from postback.ingest.decode import canonical_json
from postback.ingest.rejection import Rejection
from postback.ingest.warnings import EXPOSURE_WARNINGS, group_warnings
from postback.items import items_of, partial_failure
from postback.store.rows import Rows

if TYPE_CHECKING:
    from postback.tasks import TaskCall

__all__ = ["HourTotal", "ReportTotalsRequest", "report_totals"]

_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_Count = Annotated[int, Meta(ge=0, lt=2**53)]
_LAST_HOUR = datetime.fromisoformat("2106-01-01T00:00:00+00:00")


class ReportTotalsRequest(msgspec.Struct):
    """The call's own arguments.

    Attributes:
        totals: The JSON array of totals, not yet parsed.
        account: core/account-ref.json; None when the key acts for one account.
    """

    totals: msgspec.Raw
    account: Any = None


class HourTotal(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What one package, or one creative of it, delivered in the hour that begins at ``hour``."""

    media_buy_id: _Name
    package_id: _Name
    hour: Annotated[datetime, Meta(tz=True)]
    impressions: _Count
    clicks: _Count
    spend: Decimal
    currency: str
    creative_id: _Name | None = None


async def report_totals(call: TaskCall) -> dict[str, Any]:
    """Judge, store and answer one batch of totals.

    Returns:
        ``totals_received``, ``totals_processed``, ``partial_failures`` and ``warnings``.

    Raises:
        InvalidRequest, BatchTooLarge: The request can't be read as a batch.
        AccountRequired, AccountNotFound, AccountAmbiguous: No single account fits.
        IdempotencyConflict: The key was used for another call.
        Overloaded, StoreUnavailable: Nothing was acknowledged.
    """
    services = call.services
    request = call.arguments.to(ReportTotalsRequest)
    raws = [bytes(raw) for raw in items_of(request.totals, "totals")]
    account_id = resolve_account(call.principal, request.account).account_id
    services.limits.hit_events(call.principal.key_id, len(raws))
    registered = services.media_buys.package_keys(account_id)
    accepted: list[HourTotal] = []
    failures: list[dict[str, Any]] = []
    warnings: dict[str, list[int]] = {}
    for index, raw in enumerate(raws):
        notes: list[str] = []
        try:
            total = _judge(raw, notes)
        except Rejection as rejection:
            failures.append(partial_failure("totals", index, rejection, call.release))
            continue
        accepted.append(total)
        if (total.media_buy_id, total.package_id) not in registered:
            notes.append("UNKNOWN_PACKAGE")
        for code in notes:
            warnings.setdefault(code, []).append(index)
    said = sha256(b"\n".join(map(canonical_json, raws))).digest()

    async def store() -> dict[str, Any]:
        first_stamp = services.stamps.take(len(raws))
        await services.writer.write(_rows(account_id, accepted, first_stamp))
        return {
            "message": f"{len(accepted):,} of {len(raws):,} totals accepted.",
            "totals_received": len(raws),
            "totals_processed": len(accepted),
            **({"partial_failures": failures} if failures else {}),
            **({"warnings": group_warnings(warnings, len(raws), "totals", EXPOSURE_WARNINGS)} if warnings else {}),
        }

    return await call.once(account_id, call.arguments.fingerprint({"totals": said}), store)


def _judge(raw: bytes, notes: list[str]) -> HourTotal:
    total: HourTotal = read_carefully(raw, HourTotal, notes)
    for name in ("media_buy_id", "package_id", "creative_id"):
        check_name(name, getattr(total, name))
    seconds = total.hour.timestamp()
    if seconds % 3600:
        raise Rejection(
            "INVALID_REQUEST",
            "hour must be a full hour in UTC, the one that begins then, as 2026-01-15T14:00:00Z.",
            "hour",
        )
    if seconds < 0 or total.hour >= _LAST_HOUR:
        raise Rejection("INVALID_REQUEST", "hour must lie from 1970 to 2105.", "hour")
    spend = check_money(total.spend, total.currency, "spend")
    return msgspec.structs.replace(total, spend=spend)


def _rows(account_id: str, totals: list[HourTotal], first_stamp: int) -> list[Rows]:
    if not totals:
        return []
    columns: dict[str, list[Any]] = {
        name: [getattr(total, name) for total in totals]
        for name in ("media_buy_id", "package_id", "impressions", "clicks", "spend", "currency")
    }
    columns["account_id"] = [account_id] * len(totals)
    columns["hour"] = [int(total.hour.timestamp()) for total in totals]
    columns["creative_id"] = [total.creative_id or "" for total in totals]
    # Later in the batch is the later word.
    columns["received_at"] = list(range(first_stamp, first_stamp + len(totals)))
    return [Rows("delivery_total", columns)]
