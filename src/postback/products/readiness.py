"""Whether an account's event sources suffice for what a product optimizes (core/measurement-readiness.json)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import UNSET

from postback.event_sources.event_source import EventSource
from postback.event_sources.health import HealthIssue, Severity, Status
from postback.products.product import MeasurementReadiness, PricingOption, Product

__all__ = ["measurement_readiness"]

_STATUSES: tuple[Status, ...] = ("insufficient", "minimum", "good", "excellent")
_SHOWN_ISSUES = 5


def measurement_readiness(
    product: Product, sources: Sequence[EventSource], statuses: Mapping[str, Status]
) -> MeasurementReadiness:
    """How ready an account is for a product: the readiest of its prices counts, and for that the best source.

    A price that is paid for events takes the sources that accept their type, or the one that it names. Other prices
    take any source. Event types are required only where every price is paid for some.

    Args:
        product: The product.
        sources: The account's event sources.
        statuses: The health status of each that has sent events, by event_source_id.
    """
    options = product.pricing_options
    fitting = [[source for source in sources if _fits(option, source)] for option in options]
    rank = max((_rank(source, statuses) for found in fitting for source in found), default=0)
    types = [option.event_type for option in options if option.event_type]
    required = sorted({*types}) if len(types) == len(options) else []
    served = {option.event_type for option, found in zip(options, fitting, strict=True) if found}
    missing = [event_type for event_type in required if event_type not in served]
    usable = {source.event_source_id for found in fitting for source in found}
    silent = sorted(each for each in usable if statuses.get(each, "insufficient") == "insufficient")
    issues = [*_issues(sources, missing, silent, statuses, "warning" if rank else "error")]
    return MeasurementReadiness(
        status=_STATUSES[rank],
        required_event_types=required or UNSET,
        missing_event_types=missing or UNSET,
        issues=issues[:_SHOWN_ISSUES] or UNSET,
    )


def _fits(option: PricingOption, source: EventSource) -> bool:
    """Whether the events that a price is paid for can come from a source."""
    if option.event_type is None:
        return True
    accepted = source.event_types is None or option.event_type in source.event_types
    return accepted and option.event_source_id in (None, source.event_source_id, source.seller_id)


def _rank(source: EventSource, statuses: Mapping[str, Status]) -> int:
    return _STATUSES.index(statuses.get(source.event_source_id, "insufficient"))


def _issues(
    sources: Sequence[EventSource],
    missing: Sequence[str],
    silent: Sequence[str],
    statuses: Mapping[str, Status],
    severity: Severity,
) -> Iterator[HealthIssue]:
    if not sources:
        yield HealthIssue(severity, "The account has no event source. Set one up with sync_event_sources.")
    elif missing:
        types = ", ".join(missing)
        yield HealthIssue(
            severity,
            f"No event source that this product can use accepts {types}. Declare it with sync_event_sources.",
        )
    for event_source_id in silent:
        what = "is offline" if event_source_id in statuses else "has not sent an event yet"
        yield HealthIssue(
            severity, f"Event source {event_source_id} {what}. Its health in sync_event_sources says what to do."
        )
