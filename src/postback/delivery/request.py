"""The arguments of get_media_buy_delivery (media-buy/get-media-buy-delivery-request.json)."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from postback.errors import InvalidRequest, UnsupportedGranularity
from postback.protocol.enums import MediaBuyStatus

__all__ = ["DeliveryRequest", "Period"]

_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(2106, 1, 1)


class Period(msgspec.Struct, frozen=True):
    """The days that a report covers: from ``start``, until before ``end``, UTC."""

    start: date = _FIRST_DAY
    end: date = _LAST_DAY

    def bounds(self, begun: datetime, now: datetime) -> tuple[datetime, datetime]:
        """What is reported, as times: without dates, since something has ``begun`` and until ``now``."""
        start = begun if self.start == _FIRST_DAY else datetime.combine(self.start, time(), UTC)
        end = now if self.end == _LAST_DAY else datetime.combine(self.end, time(), UTC)
        return min(start, end), end


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
            InvalidRequest: A date that is none, or an end that is not after the start.
            UnsupportedGranularity: Slices by time were asked for.
        """
        if self.time_granularity is not None:
            raise UnsupportedGranularity(
                "time_granularity is not offered; daily_breakdown gives the days.", field="time_granularity"
            )
        period = Period(
            _day("start_date", self.start_date) or _FIRST_DAY,
            _day("end_date", self.end_date) or _LAST_DAY,
        )
        if period.start >= period.end:
            raise InvalidRequest(
                "end_date must be after start_date; the day that it names is not included.", field="end_date"
            )
        return period


def _day(field: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return max(_FIRST_DAY, min(datetime.strptime(text, "%Y-%m-%d").date(), _LAST_DAY))
    except ValueError:
        raise InvalidRequest(f"{field} must be a day, as 2026-01-31.", field=field) from None
