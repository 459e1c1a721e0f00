"""People who see ads and buy, made in the event store by its own functions: the same people every time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from postback.media_buys.goals import EventGoal, GoalSource
from postback.media_buys.media_buy import MediaBuy, Package
from postback.media_buys.store import MediaBuyStore
from postback.store.event_store import EventStore

__all__ = ["REPORTED", "Audience", "buy_media", "reported_conversions"]

_ACCOUNT, _MEDIA_BUY, _SOURCE, _EVENT_TYPE = "default", "mb", "website", "purchase"
_START = datetime(2026, 10, 1, tzinfo=UTC)
REPORTED = {
    "account_ids": [_ACCOUNT],
    "media_buy_ids": [_MEDIA_BUY],
    "start": datetime(1970, 1, 1, tzinfo=UTC),
    "end": datetime(2106, 1, 1, tzinfo=UTC),
    "hourly": False,
}
"""What a delivery report of this media buy asks the event store for."""

_INSERT_ROWS = 1_000_000
_FIRST_EVENT_RECEIVED = 10**12
"""Receipt times of events, in µs; exposures come from 1 on. Both are long ago, so that whatever arrives is later."""

# A person has an e-mail address and a browser; both sides know both.
_KEYS = ", ".join(
    f"""CAST(concat(char({kind}), substring(concat(
        reinterpretAsString(bitOr(sipHash64(person, {kind}), 0x8000000000000000)),
        reinterpretAsString(bitOr(sipHash64(person, 5, {kind}), 0x8000000000000000))), 1, 15)) AS FixedString(16))"""
    for kind in (1, 4)
)
_EXPOSURES = f"""
INSERT INTO exposure (account_id, exposure_id, kind, occurred_at, received_at, media_buy_id, package_id, creative_id,
    match_keys, cost, currency)
SELECT '{_ACCOUNT}', concat('imp-', toString(sipHash64(number, 3)), '-', toString(number)),
    if({{click}}, 'click', 'impression'),
    toDateTime64('2026-10-01 00:00:00', 6, 'UTC') + toIntervalSecond(sipHash64(number) % ({{days}} * 86400)),
    fromUnixTimestamp64Micro(toInt64(1 + number), 'UTC'),
    '{_MEDIA_BUY}', concat('p', toString(number % 10)), concat('c', toString(number % 3)),
    [{_KEYS}], JSONExtract('0.003', 'Decimal(38, 9)'), 'USD'
FROM (SELECT number, {{person}} AS person FROM numbers({{first}}, {{count}}))
"""
_EVENTS = f"""
INSERT INTO event (account_id, event_source_id, event_type, event_id, event_time, received_at, action_source,
    custom_data, match_keys, quality)
SELECT '{_ACCOUNT}', '{_SOURCE}', '{_EVENT_TYPE}',
    concat('order-', toString(sipHash64(number, 3)), '-', toString(number)),
    toDateTime64('2026-10-15 00:00:00', 6, 'UTC') + toIntervalSecond(sipHash64(number, 7) % ({{days}} * 86400)),
    fromUnixTimestamp64Micro(toInt64({_FIRST_EVENT_RECEIVED} + number), 'UTC'), 'website',
    '{{{{"value":12.5,"currency":"USD"}}}}', [{_KEYS}], 0.85
FROM (SELECT number, {{person}} AS person FROM numbers({{first}}, {{count}}))
"""


class Audience:
    """So many people. What they do from one number to another is the same in each run, and once."""

    def __init__(self, store: EventStore, people: int = 1) -> None:
        self._store = store
        self._person = f"intHash64(number) % {people}"

    def see(self, exposures: int) -> None:
        """See so many ads in 45 days, and click on one in twenty."""
        self._insert(_EXPOSURES, 0, exposures, person=self._person, click="number % 20 = 0", days=45)

    def buy(self, first: int, end: int) -> None:
        """Buy something in 30 days, whatever they saw before."""
        self._insert(_EVENTS, first, end, person=self._person, days=30)

    def click_and_buy(self, first: int, end: int) -> None:
        """One person a number clicks on an ad, and buys something within 30 days, in ten days altogether."""
        self._insert(_EXPOSURES, first, end, person="number", click="1", days=10)
        self._insert(_EVENTS, first, end, person="number", days=10)

    def _insert(self, statement: str, first: int, end: int, **what: object) -> None:
        for start in range(first, end, _INSERT_ROWS):
            count = min(_INSERT_ROWS, end - start)
            self._store.deriver.command(statement.format(first=start, count=count, **what))


def buy_media(media_buys: MediaBuyStore) -> None:
    """A media buy of ten packages, each of which aims at the purchases that these people make."""
    source = GoalSource(event_source_id=_SOURCE, event_type=_EVENT_TYPE, value_field="value")
    goal = EventGoal(kind="event", event_sources=(source,))
    packages = tuple(
        Package(package_id=f"p{n}", product_id="x", pricing_option_id="y", budget=1.0, goals=(goal,)) for n in range(10)
    )
    media_buys.create(
        MediaBuy(
            account_id=_ACCOUNT,
            media_buy_id=_MEDIA_BUY,
            currency="USD",
            start_at=_START,
            end_at=_START + timedelta(days=45),
            created_at=_START,
            total_budget=1.0,
            packages=packages,
        )
    )


def reported_conversions(store: EventStore) -> int:
    """The conversions that a delivery report of this media buy counts."""
    return sum(int(row[-2]) for row in store.query("delivery_conversions", **REPORTED))
