"""The conversions of a media buy, each with the exposure that it is attributed to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.accounts.references import AccountRef, matching_accounts
from postback.attribution.explain import Attribution, StoredOutcome, shown_outcome
from postback.auth.principal import Principal
from postback.delivery.request import DeliveryRequest, Period
from postback.errors import InvalidRequest, NotFound
from postback.media_buys.media_buy import MediaBuy
from postback.protocol.envelope import TIME
from postback.protocol.pagination import PageInfo, Pagination, StoredNumber, page_info, position_of
from postback.protocol.timestamps import micros, moment, rfc3339
from postback.services import Services

__all__ = [
    "Conversion",
    "ConversionFilter",
    "ConversionsResponse",
    "Position",
    "find_media_buy",
    "media_buy_conversions",
    "read_conversions",
]

_FILTERS = ("package_id", "creative_id", "event_type", "action_source", "event_source_id", "value_reason", "kind")
_KINDS = ("", "conversion", "refund")

_Size = Annotated[int, Meta(ge=1, le=1000)]


class Conversion(msgspec.Struct, kw_only=True):
    """An event that is attributed to the media buy."""

    event_source_id: Annotated[str, Meta(description="The source that logged it.")]
    event_type: Annotated[str, Meta(description="What happened.")]
    event_id: Annotated[str, Meta(description="Its id.")]
    event_time: Annotated[str, Meta(description=f"When it happened: {TIME}")]
    action_source: Annotated[str | UnsetType, Meta(description="Where it happened.")] = UNSET
    reported_at: Annotated[
        str | UnsetType,
        Meta(description="Present where it is reported at another time than its own: a refund at its purchase's."),
    ] = UNSET
    attribution: Annotated[
        Attribution, Meta(description="The exposure that it is attributed to, by which identifier and rule.")
    ]


class ConversionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What conversions are reported under. A refund is reported in the place of its purchase.

    Attributes:
        package_id: The package.
        creative_id: The creative.
        event_type: The event type.
        action_source: Where it happened.
        event_source_id: The source of the event that counts.
        value_reason: Why its value counts 0, or not all of it.
        kind: ``conversion`` for what counts as one, ``refund`` for what subtracts from their value.
        hour: The hour that begins then, UTC.
        period: The days.
    """

    package_id: str = ""
    creative_id: str = ""
    event_type: str = ""
    action_source: str = ""
    event_source_id: str = ""
    value_reason: str = ""
    kind: str = ""
    hour: datetime | None = None
    period: Period = Period()

    @classmethod
    def of(cls, query: Mapping[str, str]) -> ConversionFilter:
        """The filter in the query of a URL; an empty parameter leaves nothing out.

        Raises:
            InvalidRequest: A date, the hour or the kind is malformed.
            InvalidPeriod: The end is not after the start.
        """
        dates = DeliveryRequest(start_date=query.get("start_date") or None, end_date=query.get("end_date") or None)
        hour = moment(query["hour"], "hour").replace(minute=0, second=0) if query.get("hour") else None
        if query.get("kind", "") not in _KINDS:
            raise InvalidRequest("kind must be conversion or refund.", field="kind")
        return cls(**{name: query.get(name, "") for name in _FILTERS}, hour=hour, period=dates.period())

    def stored(self) -> dict[str, Any]:
        """The parameters of the statements that read conversions; ``dated``: whether not of all times."""
        start, end = self.period.stored()
        if self.hour is not None:
            start = min(max(start, self.hour), end)
            end = min(end, start + timedelta(hours=1)) if start == self.hour else start
        dated = self.hour is not None or self.period != Period()
        return {name: getattr(self, name) for name in _FILTERS} | {"dated": dated, "start": start, "end": end}


class Position(NamedTuple):
    """Where an event stands in the list: when it happened in µs since the epoch, its type, id and source."""

    time: StoredNumber
    event_type: str
    event_id: str
    event_source_id: str

    @classmethod
    def of(cls, row: Sequence[Any]) -> Position:
        """The position of a row of sql/conversions.sql or sql/conversions_before.sql."""
        source, event_type, event_id, time, *_ = row
        return cls(micros(time), event_type, event_id, source)

    def parameters(self, name: str) -> dict[str, object]:
        """The parameters of a statement that have it by this name."""
        return {f"{name}_{part}": value for part, value in zip(("time", "type", "id", "source"), self, strict=True)}


_START = Position(0, "", "", "")


class ConversionsResponse(msgspec.Struct):
    """A page of the conversions of a media buy."""

    media_buy_id: Annotated[str, Meta(description="The media buy.")]
    currency: Annotated[str, Meta(description="ISO 4217 code of all values.")]
    complete_through: Annotated[
        str | None, Meta(description=f"Everything received by this time is in the list: {TIME}")
    ]
    conversions: Annotated[list[Conversion], Meta(description="Newest event first.")]
    pagination: Annotated[PageInfo, Meta(description="What follows.")]


def media_buy_conversions(
    services: Services, principal: Principal, media_buy_id: str, query: dict[str, str]
) -> ConversionsResponse:
    """The events that are attributed to a media buy, newest first. Reads both stores, so call it in a thread.

    Args:
        services: The opened resources.
        principal: Who asks; only its accounts are searched.
        media_buy_id: The media buy.
        query: ``account_id``, ``max_results`` (1 to 1,000, by default 100), ``cursor``, and the values of
            ConversionFilter that the conversions are reported under, all optional.

    Raises:
        NotFound: No such media buy, or another caller's.
        InvalidRequest: A parameter is malformed.
        StoreUnavailable: A store is unavailable.
    """
    buy = find_media_buy(services, principal, media_buy_id, query.get("account_id"))
    size = _size(query.get("max_results"))
    cursor = Pagination(cursor=query.get("cursor"))
    found, last = read_conversions(services, buy, ConversionFilter.of(query), position_of(cursor, Position), size)
    complete = services.attribution.of(buy.account_id).complete_through
    return ConversionsResponse(
        media_buy_id=buy.media_buy_id,
        currency=buy.currency,
        complete_through=rfc3339(complete) if complete else None,
        conversions=found,
        pagination=page_info(last),
    )


def read_conversions(
    services: Services, buy: MediaBuy, chosen: ConversionFilter, after: Position | None, most: int
) -> tuple[list[Conversion], Position | None]:
    """The conversions that follow a position, newest first, and the last one's position if more follow.

    Args:
        services: The opened resources.
        buy: The media buy.
        chosen: What they are reported under.
        after: Where the list goes on; None: with the newest.
        most: How many at most; up to 5,000.

    Raises:
        StoreUnavailable: The event store is unavailable.
    """
    of_buy = {"account_id": buy.account_id, "media_buy_id": buy.media_buy_id, **chosen.stored()}
    events = services.shards.of(buy.account_id)
    rows: list[Sequence[Any]] = []
    wanted = most + 1
    while len(rows) < wanted:
        start = {"first": after is None, **(after or _START).parameters("last")}
        asked = wanted - len(rows)
        found = events.query("conversions_before", **of_buy, **start, most=asked)
        if found:
            after = Position.of(found[-1])
            hashes = [event_hash for *_, event_hash in found]
            rows += events.query("conversions", **of_buy, **start, **after.parameters("end"), hashes=hashes)
        if len(found) < asked:
            break
    page = [_conversion(buy.media_buy_id, *row) for row in rows[:most]]
    return page, Position.of(rows[most - 1]) if len(rows) > most else None


def find_media_buy(
    services: Services, principal: Principal, media_buy_id: str, account_id: str | None = None
) -> MediaBuy:
    """The media buy of one of the principal's accounts.

    Raises:
        NotFound: No such media buy, or another caller's.
        InvalidRequest: Several accounts have one with this id.
    """
    accounts = matching_accounts(principal, AccountRef(account_id=account_id) if account_id else None)
    found = services.media_buys.find([account.account_id for account in accounts], [media_buy_id])
    if not found:
        raise NotFound("You have no media buy with this id.")
    if len(found) > 1:
        raise InvalidRequest(
            "Several of your accounts have a media buy with this id. Add account_id.", field="account_id"
        )
    return found[0]


def _size(text: str | None) -> int:
    try:
        return msgspec.convert(text or "100", _Size, strict=False)
    except msgspec.ValidationError:
        raise InvalidRequest("max_results must be a whole number from 1 to 1,000.", field="max_results") from None


def _conversion(
    media_buy_id: str,
    event_source_id: str,
    event_type: str,
    event_id: str,
    event_time: datetime,
    action_source: str,
    run_id: int,
    *outcome_and_place: Any,
) -> Conversion:
    *outcome, reported_at = outcome_and_place
    return Conversion(
        event_source_id=event_source_id,
        event_type=event_type,
        event_id=event_id,
        event_time=rfc3339(event_time),
        action_source=action_source or UNSET,
        reported_at=UNSET if reported_at == event_time else rfc3339(reported_at),
        attribution=shown_outcome(StoredOutcome(run_id, media_buy_id, *outcome), event_source_id, event_time),
    )
