"""The request of get_media_buy_delivery (media-buy/get-media-buy-delivery-request.json)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from postback.accounts.references import AccountArgument
from postback.errors import InvalidPeriod, InvalidRequest, UnsupportedGranularity
from postback.protocol.enums import MediaBuyStatus
from postback.protocol.json_schema import documented

__all__ = ["DeliveryRequest", "Period", "midnight"]

_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(2106, 1, 1)
"""The range of the stores."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_ONE_DAY = timedelta(days=1)


class Period(msgspec.Struct, frozen=True):
    """The days that a report covers: from ``start``, until before ``end``, UTC; by default all."""

    start: date = date.min
    end: date = date.max

    def stored(self) -> tuple[datetime, datetime]:
        """The part of it that the stores can have data for."""
        start, end = (midnight(max(_FIRST_DAY, min(day, _LAST_DAY))) for day in (self.start, self.end))
        return start, end

    def bounds(self, begun: datetime, now: datetime) -> tuple[datetime, datetime]:
        """The reported period as times; without dates, from ``begun`` to ``now``.

        If the one date that is given lies outside of that, the period is one day long.
        """
        if self.start == date.min and self.end == date.max:
            return min(begun, now), now
        if self.start == date.min:
            end = midnight(self.end)
            return min(begun, end - _ONE_DAY), end
        start = midnight(self.start)
        return start, max(now, start + _ONE_DAY) if self.end == date.max else midnight(self.end)


_Day = Annotated[str, documented("A UTC day, for example 2026-01-31.", pattern=r"^\d{4}-\d{2}-\d{2}$")]


class DeliveryRequest(msgspec.Struct, frozen=True):
    """The task's own arguments."""

    account: AccountArgument = None
    media_buy_ids: Annotated[list[str], Meta(min_length=1, max_length=1000, description="Only these.")] | None = None
    status_filter: Annotated[
        MediaBuyStatus | Annotated[list[MediaBuyStatus], Meta(min_length=1)] | None,
        Meta(description="A status or several; the default is any."),
    ] = None
    start_date: _Day | None = None
    end_date: Annotated[_Day, Meta(description="The UTC day before which the report ends.")] | None = None
    include_package_daily_breakdown: Annotated[bool, Meta(description="Show each day of each package, too.")] = False
    requested_metrics: (
        Annotated[
            list[str],
            Meta(min_length=1, description="Report only these, beside impressions and spend; all when absent."),
        ]
        | None
    ) = None
    time_granularity: Annotated[str, Meta(description="Not supported. daily_breakdown has the days.")] | None = None

    def statuses(self) -> list[MediaBuyStatus] | None:
        """The statuses to report, None for any."""
        if self.status_filter is None or isinstance(self.status_filter, list):
            return self.status_filter
        return [self.status_filter]

    def period(self) -> Period:
        """The days to report.

        Raises:
            InvalidRequest: A date is malformed.
            InvalidPeriod: The end is not after the start.
            UnsupportedGranularity: time_granularity is set.
        """
        if self.time_granularity is not None:
            raise UnsupportedGranularity(
                "time_granularity is not supported. daily_breakdown has the days.", field="time_granularity"
            )
        start, end = _day("start_date", self.start_date, date.min), _day("end_date", self.end_date, date.max)
        if start >= end:
            raise InvalidPeriod("end_date must be after start_date. The report ends before end_date.", field="end_date")
        return Period(start, end)


def _day(field: str, text: str | None, default: date) -> date:
    if text is None:
        return default
    try:
        if _DAY.match(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidRequest(f"{field} must be a day, for example 2026-01-31.", field=field)


def midnight(day: date) -> datetime:
    """When a UTC day begins."""
    return datetime.combine(day, time(), UTC)
