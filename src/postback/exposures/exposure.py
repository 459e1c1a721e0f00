"""One exposure: as it is sent, and as it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from postback.events.event import USER_MATCH, UserMatch
from postback.protocol.envelope import TIME
from postback.protocol.json_schema import documented
from postback.store.rows import Rows

__all__ = ["DescribedExposure", "Exposure", "ExposureKind", "SentExposure", "exposure_rows"]

ExposureKind = Literal["impression", "click"]
_Name = Annotated[str, Meta(min_length=1, max_length=256)]


class DescribedExposure(msgspec.Struct, gc=False, omit_defaults=True):
    """One exposure, as it is published."""

    exposure_id: Annotated[_Name, Meta(description="Unique in the account, over impressions and clicks.")]
    kind: Annotated[ExposureKind, Meta(description="What happened.")]
    occurred_at: Annotated[datetime, Meta(tz=True, description=f"When it happened: {TIME}")]
    media_buy_id: Annotated[_Name, Meta(description="The media buy that it belongs to.")]
    package_id: Annotated[_Name, Meta(description="The package.")]
    creative_id: Annotated[_Name, Meta(description="What was shown.")] | None = None
    user_match: Annotated[UserMatch | None, Meta(description=USER_MATCH)] = None
    cost: Annotated[float, documented("What it cost.", minimum=0)] | None = None
    currency: Annotated[str, documented("ISO 4217 code, for example USD.", pattern="^[A-Z]{3}$")] | None = None


class SentExposure(DescribedExposure, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """An exposure as decoded, with exact money. Its identifiers stay in memory only until they are hashed."""

    cost: Decimal | None = None  # type: ignore[assignment] # JSON Schema knows no decimals


class Exposure(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A valid exposure.

    Attributes:
        exposure_id: Unique in the account, over impressions and clicks.
        kind: What happened.
        occurred_at: When, in µs since the epoch.
        media_buy_id: The media buy that it was delivered for.
        package_id: The package.
        creative_id: The creative, or empty.
        match_keys: The match keys of the person, concatenated; empty if there are none.
        cost: Its cost, or None.
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


def exposure_rows(account_id: str, exposures: Sequence[Exposure]) -> list[Rows]:
    """The rows to store of the accepted exposures of one call, in their order."""
    if not exposures:
        return []
    columns: dict[str, Sequence[Any]] = {
        name: [getattr(exposure, name) for exposure in exposures] for name in Exposure.__struct_fields__
    }
    columns["account_id"] = [account_id] * len(exposures)
    columns["place"] = range(len(exposures))
    return [Rows("exposure", columns)]
