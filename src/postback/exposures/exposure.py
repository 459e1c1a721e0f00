"""One exposure: as it is sent, and as it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from postback.ingest.event import UserMatch
from postback.store.rows import Rows

__all__ = ["Exposure", "ExposureKind", "SentExposure", "exposure_rows", "micros"]

ExposureKind = Literal["impression", "click"]
_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SentExposure(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """An exposure as its seller sends it. Its identifiers live in memory only, until they are hashed."""

    exposure_id: _Name
    kind: ExposureKind
    occurred_at: Annotated[datetime, Meta(tz=True)]
    media_buy_id: _Name
    package_id: _Name
    creative_id: _Name | None = None
    user_match: UserMatch | None = None
    cost: Decimal | None = None
    currency: str | None = None


class Exposure(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """An exposure that passed every check.

    Attributes:
        exposure_id: Unique in the account, over impressions and clicks.
        kind: What happened.
        occurred_at: When, in µs since the epoch.
        media_buy_id: The media buy that it was delivered for.
        package_id: The package.
        creative_id: What was shown, or empty.
        match_keys: The match keys of the person, one after the other; empty when there are none.
        cost: What it cost, or None.
        currency: ISO 4217 code of the cost, or empty.
    """

    exposure_id: str
    kind: ExposureKind
    occurred_at: int
    media_buy_id: str
    package_id: str
    creative_id: str = ""
    match_keys: bytes = b""
    cost: Decimal | None = None
    currency: str = ""


def exposure_rows(account_id: str, exposures: Sequence[Exposure], first_stamp: int) -> list[Rows]:
    """The rows to store; ``first_stamp`` is the received_at of the first, in µs since the epoch."""
    if not exposures:
        return []
    columns: dict[str, list[Any]] = {
        name: [getattr(exposure, name) for exposure in exposures] for name in Exposure.__struct_fields__
    }
    columns["account_id"] = [account_id] * len(exposures)
    columns["received_at"] = list(range(first_stamp, first_stamp + len(exposures)))
    return [Rows("exposure", columns)]


def micros(moment: datetime) -> int:
    """A time in µs since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND
