"""Events are validated column by column; the company that an event is in changes nothing about it."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postback.event_sources.event_source import EventSource
from postback.events.identifiers import IdentifierHasher
from postback.events.rules import EventRules
from postback.events.validate import ValidationResult, validate_events

_NOW = datetime.now(UTC).replace(microsecond=0)
_SOURCE = EventSource(
    account_id="default",
    event_source_id="shop",
    seller_id="src_1",
    event_types=("purchase", "lead", "refund", "custom"),
    allowed_domains=("shop.example",),
)
_RULES = EventRules.of(_SOURCE, now=_NOW, sandbox=False, max_age_days=90, require_user_match=False)
_HASHER = IdentifierHasher(b"s" * 32)
_DIGEST = "a522b5489bfc961b75e6adefbb546c29b1d03a6e96588d7dae866c225ceb65da"
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

_ABSENT = object()

_EVENT: dict[str, list[Any]] = {
    "event_id": [
        "order-1001",
        "order_7",
        "CjwKCAjw-0123456789",
        "order 7",
        " order-8",
        "null",
        "jane@shop.example",
        "",
    ],
    "event_type": ["purchase", "purchase", "purchase", "lead", "refund", "custom", "add_to_cart", "buy", 3],
    "event_time": [
        (_NOW - timedelta(days=1)).isoformat(),
        (_NOW - timedelta(days=2)).astimezone().isoformat(),
        f"{_NOW - timedelta(hours=3):%Y-%m-%dT%H:%M:%S}.123456+02:00",
        (_NOW - timedelta(days=100)).isoformat(),
        (_NOW + timedelta(days=1)).isoformat(),
        "2106-01-01T00:00:00Z",
        "yesterday",
    ],
    "action_source": ["website", "website", _ABSENT, "app", "moon"],
    "event_source_url": [
        "https://shop.example/thanks",
        "https://www.shop.example/thanks?gclid=1",
        _ABSENT,
        "https://SHOP.example/Thanks",
        "https://other.example/",
        "thanks",
    ],
    "custom_event_name": [_ABSENT, _ABSENT, _ABSENT, "signed up", " ", "mail jane@shop.example"],
    "loyalty": [_ABSENT, _ABSENT, _ABSENT, "gold", {"email": "jane@shop.example"}],
}
_CUSTOM_DATA: dict[str, list[Any]] = {
    "value": [12.5, 12.5, 7, 0, _ABSENT, -1, "12"],
    "currency": ["USD", "USD", "EUR", " USD ", _ABSENT, "usd", "XXL"],
    "order_id": ["1001-", "A/7 ", _ABSENT, "null", "000", "jane@shop.example"],
    "content_ids": [["sku-1"], _ABSENT, [], ["+12065551234"], [None]],
    "order_total": [_ABSENT, _ABSENT, 12.5, "a"],
}
_USER_MATCH: dict[str, list[Any]] = {
    "hashed_email": [_DIGEST, _DIGEST, _ABSENT, _DIGEST.upper(), f"a{'0' * 63}", "e" * 32, "jane@shop.example", ""],
    "hashed_phone": [_ABSENT, _DIGEST, _DIGEST[::-1], "+12065551234", "null"],
    "uids": [
        _ABSENT,
        [{"type": "uid2", "value": "A4AAABl0cm9tZXR-0123456789"}],
        [{"type": "rampid", "value": "x" * 20}, {"type": "rampid", "value": "x" * 20}],
        [{"type": "hashed_email", "value": _DIGEST}],
        [{"type": "maid", "value": "00000000-0000-0000-0000-000000000000"}],
        [{"type": "moon", "value": "1"}],
        [],
    ],
    "click_id": ["CjwKCAjw-0123456789", _ABSENT, "short", "{gclid}", " CjwKCAjw-0123456789", "fb.1.1.AbCdEfGhIjKlMnOp"],
    "client_ip": [
        "81.2.69.142",
        "81.2.69.142",
        _ABSENT,
        "10.0.0.1",
        "2001:4860::8888",
        "",
        "81.2.69.142:80",
        "300.1.1.1",
    ],
    "client_user_agent": [_BROWSER, _BROWSER, _ABSENT, "", f"{_BROWSER} ", "curl/8", "null"],
    "em": [_ABSENT, _ABSENT, _ABSENT, _DIGEST],
}


@st.composite
def _events(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events that are plainly right, odd or wrong in one thing or in many, in any mixture."""
    chance = draw(st.randoms(use_true_random=False))
    oddity = draw(st.sampled_from([0.0, 0.02, 0.1, 0.5]))
    return [_event(chance, oddity, number) for number in range(draw(st.integers(1, 120)))]


def _event(chance: random.Random, oddity: float, number: int) -> dict[str, Any]:
    def fields(of: dict[str, list[Any]]) -> dict[str, Any]:
        chosen = {name: chance.choice(values) if chance.random() < oddity else values[0] for name, values in of.items()}
        return {name: value for name, value in chosen.items() if value is not _ABSENT}

    custom_data = fields(_CUSTOM_DATA)
    if custom_data.get("order_id", "").endswith(("-", " ")):  # no two events of one order, which is warned about
        custom_data["order_id"] += str(number)
    inner: dict[str, Any] = {"custom_data": custom_data, "user_match": fields(_USER_MATCH)}
    for name in list(inner):
        if chance.random() < oddity / 4:
            inner[name] = chance.choice([None, {}, []])
    return fields(_EVENT) | inner


_USUAL = _event(random.Random(0), 0.0, 999)
_COMPANY: list[dict[str, Any]] = [
    _USUAL | {"event_id": "späti 1", "event_type": "custom", "custom_event_name": "x", "event_source_url": None},
    _USUAL | {"event_time": "2106-01-01T00:00:00Z"},
    _USUAL | {"custom_data": {"order_id": "null", "other": "+12065551234"}},
    {name: value for name, value in _USUAL.items() if name not in ("custom_data", "user_match")},
    _USUAL
    | {"user_match": {"hashed_email": _DIGEST.upper(), "hashed_phone": "null", "click_id": "x", "client_ip": "::1"}},
]
"""With them no column is plain, so that every event is checked alone."""


def _validated(events: list[dict[str, Any]], **spelling: Any) -> ValidationResult:
    raws = [msgspec.Raw(msgspec.json.format(msgspec.json.encode(event), **spelling)) for event in events]
    return validate_events(raws, _RULES, _HASHER)


def _outcomes(result: ValidationResult, start: int = 0) -> dict[int, tuple[Any, ...]]:
    """What became of each event from this place on."""
    stored = zip(*result.accepted.columns.values(), strict=True)
    accepted = zip(result.accepted.indexes, result.accepted.qualities, stored, strict=True)
    outcomes: dict[int, tuple[Any, ...]] = {index: (quality, *row) for index, quality, row in accepted}
    for failed in result.failed:
        rejection = failed.rejection
        outcomes[failed.index] = (
            failed.step,
            failed.event_id,
            failed.event_type,
            rejection.reason,
            rejection.field,
            rejection.message,
        )
    return {index - start: outcome for index, outcome in outcomes.items() if index >= start}


def _without_places(result: ValidationResult, start: int = 0) -> dict[str, list[int]]:
    warned = {code: [index - start for index in at if index >= start] for code, at in result.warnings.items()}
    return {code: sorted(at) for code, at in warned.items() if at}


@pytest.mark.slow
@settings(max_examples=150)
@given(_events())
def test_the_company_of_an_event_changes_nothing_about_it(events: list[dict[str, Any]]) -> None:
    together = _validated(events)
    in_odd_company = _validated(_COMPANY + events)
    alone = [_validated([event]) for event in events]

    assert _outcomes(together) == _outcomes(in_odd_company, len(_COMPANY))
    assert _outcomes(together) == {place: _outcomes(result)[0] for place, result in enumerate(alone)}
    assert _without_places(together) == _without_places(in_odd_company, len(_COMPANY))
    assert together.accepted.coverage() == sum((Counter(result.accepted.coverage()) for result in alone), Counter())


@pytest.mark.slow
@settings(max_examples=50)
@given(_events())
def test_a_fingerprint_depends_neither_on_the_spelling_nor_on_the_way_of_decoding(events: list[dict[str, Any]]) -> None:
    accepted = [event for event in events if not _validated([event]).failed]
    careful = [event | {"custom_event_name": event.get("custom_event_name")} for event in accepted]  # a null is nothing

    assert _validated(accepted).fingerprint == _validated(careful, indent=2).fingerprint


def test_one_odd_event_costs_the_others_nothing_of_what_they_say() -> None:
    events = [_event(random.Random(number), 0.0, number) for number in range(300)]
    events[77] = events[77] | {"event_id": "jane@shop.example"}

    result = _validated(events)

    assert [(failed.index, failed.step) for failed in result.failed] == [(77, "rules")]
    assert result.accepted.indexes == [place for place in range(300) if place != 77]
    assert result.warnings == {}
    assert len(set(result.accepted.qualities)) == 1
