"""POST /v1/exposures: a batch of impressions and clicks, from the request to the stored rows and the response.

    account → validate each exposure → replay if this call was answered before → log → respond

Only what is durable is acknowledged. Attribution finds the exposures within seconds.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.accounts.references import AccountArgument, resolve_account
from postback.events.warnings import EXPOSURE_WARNINGS, group_warnings
from postback.exposures.exposure import DescribedExposure, exposure_rows
from postback.exposures.registered import registration_warnings
from postback.exposures.reused_ids import reject_reused_ids
from postback.exposures.validate import ExposureValidationResult, validate_exposures
from postback.protocol.batch_items import MAX_ITEMS, items_of
from postback.protocol.json_schema import documented, published_as
from postback.tasks.batches import ItemFailure, item_failure
from postback.tasks.call import LogCall, Payload, TaskCall
from postback.tasks.task import Task

__all__ = ["LOG_EXPOSURES", "LogExposuresRequest", "LogExposuresResponse", "log_exposures"]

_INLINE = 50
"""Batches up to this size are validated on the event loop."""


class LogExposuresRequest(msgspec.Struct):
    """The call's own arguments. The array stays raw: one bad exposure must not fail the rest."""

    exposures: Annotated[
        msgspec.Raw,
        published_as(
            Annotated[list[DescribedExposure], Meta(min_length=1, max_length=MAX_ITEMS, description="The exposures.")]
        ),
    ]
    account: AccountArgument = None


class ExposureFailure(ItemFailure, kw_only=True):
    """An exposure that was not accepted."""

    exposure_id: Annotated[str, Meta(description="The exposure, or index:17 when its id can't be read.")]


class LogExposuresResponse(msgspec.Struct, kw_only=True):
    """The response, without the envelope."""

    message: Annotated[str, Meta(description="How many were accepted.")]
    exposures_received: Annotated[int, documented("Exposures in the call.", minimum=0)]
    exposures_processed: Annotated[int, documented("Exposures accepted, copies included.", minimum=0)]
    partial_failures: Annotated[
        list[ExposureFailure] | UnsetType, Meta(description="The exposures that were not accepted.")
    ] = UNSET
    warnings: Annotated[list[str] | UnsetType, Meta(description="What should be better.")] = UNSET


async def log_exposures(call: TaskCall) -> Payload:
    """Validate, store and acknowledge one batch.

    Returns:
        A LogExposuresResponse, also when every exposure failed.

    Raises:
        InvalidRequest, BatchTooLarge: The request is not a valid batch.
        AccountRequired, AccountNotFound, AccountAmbiguous: The reference doesn't match exactly one account.
        RateLimitExceeded: Too many in this minute.
        IdempotencyConflict: The key was used for another call.
        Overloaded, StoreUnavailable: Nothing was acknowledged.
    """
    services = call.services
    request = call.arguments.to(LogExposuresRequest)
    exposures = items_of(request.exposures, "exposures")
    account = resolve_account(call.principal, request.account)
    services.limits.hit_events(call.principal.key_id, len(exposures))
    arguments = (exposures, services.identifiers, services.clock.utc())
    with services.metrics.request_stages.time("validate"):
        if len(exposures) > _INLINE:
            result = await services.threads.compute.run(validate_exposures, *arguments, sandbox=account.sandbox)
        else:
            result = validate_exposures(*arguments, sandbox=account.sandbox)
    registered = await services.threads.ingestion.run(services.media_buys.package_currencies, account.account_id)
    money = zip(result.indexes, result.accepted, strict=True)
    result.warnings |= registration_warnings(
        ((index, e.media_buy_id, e.package_id, e.cost, e.currency) for index, e in money), registered
    )
    fingerprint = call.arguments.fingerprint({"exposures": result.fingerprint})

    async def store(log: LogCall) -> LogExposuresResponse:
        claim = reject_reused_ids(account.account_id, result, services.recent_exposures)
        response = _response(call, result, len(exposures))
        try:
            await log(response, exposure_rows(account.account_id, result.accepted), ())
        except Exception:
            services.recent_exposures.release(claim)
            raise
        services.metrics.exposures(
            Counter(exposure.kind for exposure in result.accepted),
            Counter(failed.rejection.reason for failed in result.failed),
        )
        return response

    return await call.once_in_log(account.account_id, fingerprint, store)


def _response(call: TaskCall, result: ExposureValidationResult, received: int) -> LogExposuresResponse:
    accepted = len(result.accepted)
    summary = f"{accepted:,} of {received:,} exposures accepted"
    failures = [
        ExposureFailure(
            exposure_id=failed.exposure_id if failed.exposure_id is not None else f"index:{failed.index}",
            **item_failure("exposures", failed.index, failed.rejection, call.release),
        )
        for failed in result.failed
    ]
    return LogExposuresResponse(
        message=f"{summary}." if accepted == received else f"{summary}; see partial_failures.",
        exposures_received=received,
        exposures_processed=accepted,
        partial_failures=failures or UNSET,
        warnings=group_warnings(result.warnings, received, "exposures", EXPOSURE_WARNINGS, result.subjects) or UNSET,
    )


LOG_EXPOSURES = Task(
    name="exposures",
    title="Log exposures",
    description="Log 1 to 10,000 impressions and clicks. Each is validated alone; repeating one is safe.",
    function=log_exposures,
    request=LogExposuresRequest,
    response=LogExposuresResponse,
    example={
        "exposures": [
            {
                "exposure_id": "imp_1",
                "kind": "impression",
                "occurred_at": "2026-01-15T14:30:00Z",
                "media_buy_id": "mb_1",
                "package_id": "mb_1_1",
                "cost": 0.004,
                "currency": "USD",
            }
        ]
    },
    mutating=True,
    key="optional",
    scope="seller",
)
