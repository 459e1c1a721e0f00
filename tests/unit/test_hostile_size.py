"""Input made to cost time or memory costs neither: work grows with its length, memory with what is kept of it.

Nothing is timed. Were work to grow with the square of these lengths, one test would take 10^11 steps: longer than
all others together.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest

from postback.errors import BatchTooLarge, BodyTooLarge, InvalidRequest
from postback.event_sources.entries import read_entries
from postback.event_sources.event_source import EventSource
from postback.event_sources.validation import MAX_ERRORS
from postback.events.decode import decode_events
from postback.events.event import UserMatch
from postback.events.identifiers import IdentifierHasher
from postback.events.pending_event import PendingEvent
from postback.events.personal_data import looks_personal, redact
from postback.events.rejection import Rejection
from postback.events.request import LogEventRequest, events_of
from postback.events.rules import EventRules, check_origin
from postback.events.validate import ValidationResult, validate_events
from postback.protocol.json_size import MAX_EVENT_BYTES, MAX_EVENT_VALUES
from postback.tasks.arguments import Arguments

pytestmark = pytest.mark.slow

_MANY = 300_000
_HASHER = IdentifierHasher(b"0" * 32)
_GOOD = {"event_id": "order_1", "event_type": "lead", "event_time": "2026-01-15T10:30:00Z"}
_RULES = EventRules.of(
    EventSource(account_id="a", event_source_id="s", seller_id="src_1"),
    now=datetime(2026, 1, 16, tzinfo=UTC),
    sandbox=False,
    max_age_days=90,
    require_user_match=False,
)


@pytest.mark.parametrize(
    "text",
    [
        "@" * _MANY,
        "%40" * _MANY,
        "a" * _MANY + " @",
        "a" * _MANY + "@" + "a" * _MANY,
        "a@" + ".1" * _MANY,
        "a@" * _MANY,
        "+1" * _MANY,
        "+" + "1" * _MANY,
        "0" * _MANY,
        ":" * _MANY,
        "?" + "_" * _MANY,
        "?_" + "a" * _MANY,
        "?a" * _MANY,
        "%3F" * _MANY,
        "aB" * _MANY,
    ],
    ids=lambda text: text[:4],
)
def test_any_text_is_searched_for_personal_data_in_one_go(text: str) -> None:
    looks_personal(text)
    redact({text: text})


@pytest.mark.parametrize("text", ["a" * _MANY + " @", "0x" * _MANY, "{" + "}" * _MANY, "__" * _MANY, " " * _MANY + "x"])
def test_any_text_is_judged_as_an_identifier_in_one_go(text: str) -> None:
    for user_match in (UserMatch(hashed_email=text), UserMatch(hashed_phone=text), UserMatch(click_id=text)):
        _verdict(partial(_HASHER.match, user_match, []))


def test_long_text_does_not_stay_in_memory_as_an_ip_address() -> None:
    notes: list[str] = []

    def match_many() -> None:
        for number in range(1_000):
            user_match = UserMatch(client_ip=str(number).zfill(10_000), client_user_agent="x")
            _verdict(partial(_HASHER.match, user_match, notes))

    assert _left_behind(match_many) < 1_000_000
    assert notes == ["INVALID_CLIENT_IP client_ip"] * 1_000


def test_a_prefix_is_repaired_only_where_a_digest_starts() -> None:
    digest = "a1" * 16 + "0x" + "b2" * 16

    assert isinstance(_verdict(lambda: _HASHER.match(UserMatch(hashed_email=digest), [])), Rejection)


def test_a_page_on_an_endless_host_is_refused() -> None:
    event = {**_GOOD, "event_source_url": "https://" + "\u0301\u0316" * 200_000 + "/"}
    (decoded,), _ = decode_events([msgspec.json.encode(event)])
    assert isinstance(decoded, PendingEvent)

    with pytest.raises(Rejection, match="event_source_url"):
        check_origin(decoded, _RULES)


def test_an_array_of_millions_is_refused_without_being_held() -> None:
    events = msgspec.Raw(b"[" + b"0," * 5_000_000 + b"0]")

    def split() -> None:
        with pytest.raises(BatchTooLarge, match="more than 10,000"):
            events_of(LogEventRequest("website", events))

    assert _peak(split) < 5_000_000


def test_an_event_above_the_bound_fails_alone_and_is_not_parsed() -> None:
    large = {**_GOOD, "x": [[]] * MAX_EVENT_BYTES}
    verdicts: list[ValidationResult] = []

    peak = _peak(lambda: verdicts.append(_judged([_GOOD, large, {**_GOOD, "event_id": "order_2"}])))

    assert [(failed.index, failed.event_id) for failed in verdicts[0].failed] == [(1, "order_1")]
    assert f"larger than {MAX_EVENT_BYTES:,} bytes" in verdicts[0].failed[0].rejection.message
    assert len(verdicts[0].accepted) == 2
    assert peak < 20 * MAX_EVENT_BYTES


def _lists(count: int) -> dict[str, Any]:
    """An event that has so many values beside its own fields."""
    return {**_GOOD, "event_id": f"lists_{count}", "x": [[]] * (count - 1)}


def test_an_event_of_very_many_values_fails_alone_and_costs_no_step_for_each() -> None:
    events = [_GOOD, *[_lists(300_000)] * 5, {**_GOOD, "event_id": "order_2"}]
    results: list[ValidationResult] = []

    steps = _calls(lambda: results.append(_judged(events)))

    assert [failed.index for failed in results[0].failed] == [1, 2, 3, 4, 5]
    assert "more than 10,000 values" in results[0].failed[0].rejection.message
    assert len(results[0].accepted) == 2
    assert steps < 10_000


def test_only_values_count_and_not_the_commas_in_a_text() -> None:
    text = {**_GOOD, "x": ',[{"\\' * 20_000}
    most = _lists(MAX_EVENT_VALUES - len(_GOOD) - 1)
    above = _lists(MAX_EVENT_VALUES + 1)
    items = {**_GOOD, "event_id": "items", "custom_data": {"contents": [{"id": "a"}] * MAX_EVENT_VALUES}}

    result = _judged([text, most, above, items])

    assert [failed.index for failed in result.failed] == [2, 3]


def test_large_events_are_in_memory_a_few_at_a_time() -> None:
    text = "y" * (MAX_EVENT_BYTES - 300)
    events = [msgspec.Raw(msgspec.json.encode({**_GOOD, "event_id": f"order_{n}", "x": text})) for n in range(20)]

    # Each takes four times its size while it is validated, and all lie there once as bytes.
    assert _peak(lambda: _validated(events)) < 50 * MAX_EVENT_BYTES


@pytest.mark.parametrize(
    "member", [{"context": {"x": "y" * 4_000_000}}, {f"x{number}": 0 for number in range(500_000)}]
)
def test_only_events_may_be_large(member: dict[str, Any]) -> None:
    with pytest.raises(BodyTooLarge, match="other than events"):
        Arguments(json.dumps({"events": [], **member}).encode())


@pytest.mark.parametrize(
    ("member", "field"),
    [
        ({"ext": [[]] * 300_000}, "ext"),
        ({"ext": {f"{number}": None for number in range(150_000)}}, "ext"),
        ({"context": [0] * 40_000, "ext": [[0]] * 30_000, "account": [0] * 9_999}, "ext"),
        ({"event_sources": [[]] * 300_000}, "event_sources"),
        ({f"x{number}": 0 for number in range(150_000)}, None),
    ],
    ids=["arrays", "fields", "several", "sources", "arguments"],
)
def test_very_many_values_beside_events_are_refused_and_cost_no_step_for_each(
    member: dict[str, Any], field: str | None
) -> None:
    body = json.dumps({"events": [[]] * 100_000, **member}).encode()
    refusals = []

    def split() -> None:
        with pytest.raises(BodyTooLarge, match="more than 100,000 values") as refused:
            Arguments(body)
        refusals.append(refused.value)

    assert _calls(split) < 10_000
    assert refusals[0].field == field
    assert field is None or f"most of them in {field}" in refusals[0].message


def test_as_many_values_as_are_allowed_may_stand_beside_events() -> None:
    text = {"x": ',[{"\\' * 200_000}
    few = {"events": [0] * 200_000, "context": [0] * 49_990, "ext": [[], {}] * 25_000}

    assert Arguments(json.dumps({"events": [], **text}).encode()).sent == {"events", "x"}
    assert Arguments(json.dumps(few).encode()).sent == {"events", "context", "ext"}


def test_one_name_given_twice_is_found_among_many() -> None:
    names = b",".join(b'"x%d":0' % number for number in range(90_000))

    with pytest.raises(InvalidRequest, match="twice") as refused:
        Arguments(b"{" + names + b',"ext":1,"ext":2}')

    assert refused.value.field == "ext"


@pytest.mark.parametrize("colon", [b":", b" : "])
@pytest.mark.parametrize("member", ["account", "context", "ext", "anything"])
def test_a_name_given_twice_inside_a_member_is_refused_with_the_member(member: str, colon: bytes) -> None:
    with pytest.raises(InvalidRequest, match="twice") as refused:
        Arguments(b'{"%s":{"a":[{"b":1,"b"%s2}]}}' % (member.encode(), colon))

    assert refused.value.field == member


def test_a_name_that_is_an_address_is_not_repeated() -> None:
    with pytest.raises(InvalidRequest) as refused:
        Arguments(b'{"jane@shop.example":1,"jane@shop.example":2}')

    assert refused.value.field is None
    assert "jane" not in refused.value.message


def test_an_entry_with_thousands_of_mistakes_is_told_the_first_ones() -> None:
    entry = {"event_source_id": "website", "event_types": [f"purchas{number}" for number in range(4_000)]}

    (read,) = read_entries([json.dumps(entry).encode()], ("purchase",))

    assert len(read.errors) == MAX_ERRORS


def _judged(events: list[dict[str, Any]]) -> ValidationResult:
    return _validated([msgspec.Raw(msgspec.json.encode(event)) for event in events])


def _validated(raws: list[msgspec.Raw]) -> ValidationResult:
    return validate_events(raws, _RULES, _HASHER)


def _verdict(judge_one: Callable[[], object]) -> object:
    try:
        return judge_one()
    except Rejection as rejection:
        return rejection


def _calls(work: Callable[[], object]) -> int:
    """How many functions are called while it works."""
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def _left_behind(work: Callable[[], object]) -> int:
    """The memory of Python objects that it leaves behind, in bytes."""
    tracemalloc.start()
    try:
        work()
        gc.collect()  # how often that happens by itself depends on what else the process has done
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def _peak(work: Callable[[], object]) -> int:
    """The most memory that Python objects take at a time while it works, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
