"""How times are written on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from postback.errors import InvalidRequest

__all__ = ["exact_moment", "from_micros", "micros", "moment", "rfc3339", "rfc3339_micros"]


def rfc3339(moment: datetime) -> str:
    """A time to the second, in UTC, as ``2026-01-15T14:30:00Z``."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def rfc3339_micros(moment: datetime) -> str:
    """A time in UTC to the microsecond, as ``2026-01-15T14:30:00.250000Z``."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """A time in µs since the epoch."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(time: int) -> datetime:
    """The time that ``micros`` returns as a number."""
    return _EPOCH + timedelta(microseconds=time)


class _Moment(msgspec.Struct):
    time: Annotated[datetime, Meta(tz=True)]


def moment(text: str, field: str) -> datetime:
    """A time of the call, in UTC and to the second.

    Raises:
        InvalidRequest: Not RFC 3339 with an offset.
    """
    return exact_moment(text, field).replace(microsecond=0)


def exact_moment(text: str, field: str) -> datetime:
    """A time of the call, in UTC.

    Raises:
        InvalidRequest: Not RFC 3339 with an offset.
    """
    try:
        return msgspec.convert({"time": text}, _Moment).time.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise InvalidRequest(
            f"{field} must be an RFC 3339 date and time with a UTC offset, for example 2026-01-15T14:30:00Z.",
            field=field,
        ) from None
