"""The arguments of get_media_buy_delivery (media-buy/get-media-buy-delivery-request.json)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from postback.errors import InvalidPeriod, InvalidRequest, UnsupportedGranularity
from postback.protocol.enums import MediaBuyStatus

__all__ = ["DeliveryRequest", "Period"]

_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(2106, 1, 1)
"""What the stores can hold."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_ONE_DAY = timedelta(days=1)


class Period(msgspec.Struct, frozen=True):
    """The days that a report covers: from ``start``, until before ``end``, UTC; by default all."""

    start: date = date.min
    end: date = date.max

    def stored(self) -> tuple[datetime, datetime]:
        """What of it there can be something of."""
        start, end = (_midnight(max(_FIRST_DAY, min(day, _LAST_DAY))) for day in (self.start, self.end))
        return start, end

    def bounds(self, begun: datetime, now: datetime) -> tuple[datetime, datetime]:
        """What is reported, as times: without dates, since something has ``begun`` and until ``now``.

        Where one date lies beyond that, a day beside it.
        """
        if self.start == date.min and self.end == date.max:
            return min(begun, now), now
        if self.start == date.min:
            end = _midnight(self.end)
            return min(begun, end - _ONE_DAY), end
        start = _midnight(self.start)
        return start, max(now, start + _ONE_DAY) if self.end == date.max else _midnight(self.end)


class DeliveryRequest(msgspec.Struct, frozen=True):
    """The task's own arguments.

    Attributes:
        account: core/account-ref.json; None means all accounts of the key.
        media_buy_ids: Only these; None means all.
        status_filter: A status or a list of them; None means any.
        start_date: First day, UTC; None means from the beginning.
        end_date: The day before which the report ends, UTC; None means now.
        include_package_daily_breakdown: Whether packages show each day.
        time_granularity: Not offered; asked for, it is refused, as the specification demands.
    """

    account: Any = None
    media_buy_ids: Annotated[list[str], Meta(min_length=1, max_length=1000)] | None = None
    status_filter: MediaBuyStatus | Annotated[list[MediaBuyStatus], Meta(min_length=1)] | None = None
    start_date: str | None = None
    end_date: str | None = None
    include_package_daily_breakdown: bool = False
    time_granularity: str | None = None

    def statuses(self) -> list[MediaBuyStatus] | None:
        """The statuses to report, None for any."""
        if self.status_filter is None or isinstance(self.status_filter, list):
            return self.status_filter
        return [self.status_filter]

    def period(self) -> Period:
        """The days to report.

        Raises:
            InvalidRequest: A date that is none.
            InvalidPeriod: An end that is not after the start.
            UnsupportedGranularity: Slices by time were asked for.
        """
        if self.time_granularity is not None:
            raise UnsupportedGranularity(
                "time_granularity is not offered; daily_breakdown gives the days.", field="time_granularity"
            )
        start, end = _day("start_date", self.start_date, date.min), _day("end_date", self.end_date, date.max)
        if start >= end:
            raise InvalidPeriod(
                "end_date must be after start_date; the day that it names is not included.", field="end_date"
            )
        return Period(start, end)


def _day(field: str, text: str | None, default: date) -> date:
    if text is None:
        return default
    try:
        if _DAY.match(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidRequest(f"{field} must be a day, as 2026-01-31.", field=field)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
