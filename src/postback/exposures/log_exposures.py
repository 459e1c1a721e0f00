"""POST /v1/exposures: the way of a batch of impressions and clicks, from the request to the stored rows and the answer.

    account → judge each exposure → replay if this call was answered before → store → answer

Only what is durable is acknowledged. Attribution finds the exposures within seconds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from postback.accounts.references import resolve_account
from postback.exposures.exposure import exposure_rows
from postback.exposures.judge import ExposureVerdicts, judge_exposures
from postback.ingest.warnings import EXPOSURE_WARNINGS, group_warnings
from postback.items import items_of, partial_failure

if TYPE_CHECKING:
    from postback.tasks import TaskCall

__all__ = ["LogExposuresRequest", "log_exposures"]

_INLINE = 50
"""Batches up to this size are judged on the event loop."""


class LogExposuresRequest(msgspec.Struct):
    """The call's own arguments.

    Attributes:
        exposures: The JSON array of exposures, not yet parsed.
        account: core/account-ref.json; None when the key acts for one account.
    """

    exposures: msgspec.Raw
    account: Any = None


async def log_exposures(call: TaskCall) -> dict[str, Any]:
    """Judge, store and answer one batch.

    Returns:
        ``exposures_received``, ``exposures_processed``, ``partial_failures`` and ``warnings``, much as log_event does.

    Raises:
        InvalidRequest, BatchTooLarge: The request can't be read as a batch.
        AccountRequired, AccountNotFound, AccountAmbiguous: No single account fits.
        RateLimitExceeded: Too many in this minute.
        IdempotencyConflict: The key was used for another call.
        Overloaded, StoreUnavailable: Nothing was acknowledged.
    """
    services = call.services
    request = call.arguments.to(LogExposuresRequest)
    exposures = items_of(request.exposures, "exposures")
    account = resolve_account(call.principal, request.account)
    services.limits.hit_events(call.principal.key_id, len(exposures))
    judging = (exposures, services.identifiers, datetime.now(UTC))
    if len(exposures) > _INLINE:
        verdicts = await asyncio.to_thread(judge_exposures, *judging, sandbox=account.sandbox)
    else:
        verdicts = judge_exposures(*judging, sandbox=account.sandbox)
    await asyncio.to_thread(_note_unregistered, call, account.account_id, verdicts)
    fingerprint = call.arguments.fingerprint({"exposures": verdicts.fingerprint})

    async def store() -> dict[str, Any]:
        first_stamp = services.stamps.take(len(exposures))
        await services.writer.write(exposure_rows(account.account_id, verdicts.accepted, first_stamp))
        services.metrics.exposures(
            Counter(exposure.kind for exposure in verdicts.accepted),
            Counter(failed.rejection.reason for failed in verdicts.failed),
        )
        return _answer(call, verdicts, len(exposures))

    return await call.once(account.account_id, fingerprint, store)


def _note_unregistered(call: TaskCall, account_id: str, verdicts: ExposureVerdicts) -> None:
    registered = call.services.media_buys.package_keys(account_id)
    unknown = [
        index
        for index, exposure in zip(verdicts.indexes, verdicts.accepted, strict=True)
        if (exposure.media_buy_id, exposure.package_id) not in registered
    ]
    if unknown:
        verdicts.warnings["UNKNOWN_PACKAGE"] = unknown


def _answer(call: TaskCall, verdicts: ExposureVerdicts, received: int) -> dict[str, Any]:
    accepted = len(verdicts.accepted)
    told = f"{accepted:,} of {received:,} exposures accepted"
    answer: dict[str, Any] = {
        "message": f"{told}." if accepted == received else f"{told}; see partial_failures.",
        "exposures_received": received,
        "exposures_processed": accepted,
    }
    if verdicts.failed:
        answer["partial_failures"] = [
            {
                "exposure_id": failed.exposure_id if failed.exposure_id is not None else f"index:{failed.index}",
                **partial_failure("exposures", failed.index, failed.rejection, call.release),
            }
            for failed in verdicts.failed
        ]
    if verdicts.warnings:
        answer["warnings"] = group_warnings(verdicts.warnings, received, "exposures", EXPOSURE_WARNINGS)
    return answer
