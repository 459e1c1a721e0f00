"""From bytes to typed events: one bad event never costs the batch, and how it was written down changes nothing."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from postback.events.decode import decode_events
from postback.events.pending_event import PendingEvent
from postback.events.rejection import REASONS, Rejection
from postback.protocol.canonical_json import canonical_json
from postback.protocol.strict_json import MAX_DEPTH

GOOD: dict[str, Any] = {"event_id": "order_1", "event_type": "purchase", "event_time": "2026-01-15T10:30:00Z"}


def decode_one(text: str | bytes) -> PendingEvent | Rejection:
    raw = text.encode() if isinstance(text, str) else text
    (decoded,), _ = decode_events([raw])
    return decoded


def canonical(event: dict[str, Any], **dump: Any) -> bytes:
    """What a batch of this event is compared by."""
    (decoded,), form = decode_events([json.dumps(event, **dump).encode()])
    assert isinstance(decoded, PendingEvent), decoded
    return form


def accepted(event: dict[str, Any], **dump: Any) -> PendingEvent:
    decoded = decode_one(json.dumps(event, **dump))
    assert isinstance(decoded, PendingEvent), decoded
    return decoded


def refused(text: str | bytes) -> Rejection:
    rejection = decode_one(text)
    assert isinstance(rejection, Rejection), rejection
    return rejection


@pytest.mark.parametrize(
    ("event", "reason", "field"),
    [
        ("[]", "INVALID_REQUEST", ""),
        ("7", "INVALID_REQUEST", ""),
        ("null", "INVALID_REQUEST", ""),
        ('"purchase"', "INVALID_REQUEST", ""),
        ("{}", "INVALID_REQUEST", "event_id"),
        ('{"event_id":"a","event_type":"lead"}', "INVALID_REQUEST", "event_time"),
    ],
)
def test_what_is_no_event_is_refused(event: str, reason: str, field: str) -> None:
    rejection = refused(event)
    assert (rejection.reason, rejection.field) == (reason, field)


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"event_id": ""}, "INVALID_REQUEST", "event_id"),
        ({"event_id": "x" * 257}, "INVALID_REQUEST", "event_id"),
        ({"event_id": 17}, "INVALID_REQUEST", "event_id"),
        ({"event_id": None}, "INVALID_REQUEST", "event_id"),
        ({"event_type": ["purchase"]}, "INVALID_EVENT_TYPE", "event_type"),
        ({"event_time": 1768473000}, "INVALID_EVENT_TIME", "event_time"),
        ({"event_time": "2026-01-15T10:30:00"}, "INVALID_EVENT_TIME", "event_time"),
        ({"event_time": "2026-02-30T10:30:00Z"}, "INVALID_EVENT_TIME", "event_time"),
        ({"event_time": "2026-01-15"}, "INVALID_EVENT_TIME", "event_time"),
        ({"action_source": 1}, "INVALID_REQUEST", "action_source"),
        ({"user_match": "nobody"}, "INVALID_REQUEST", "user_match"),
        ({"user_match": {"hashed_email": 1}}, "INVALID_REQUEST", "user_match.hashed_email"),
        ({"user_match": {"uids": {}}}, "INVALID_REQUEST", "user_match.uids"),
        ({"user_match": {"uids": [{"type": "uid2"}]}}, "INVALID_REQUEST", "user_match.uids[0].value"),
        ({"custom_data": []}, "INVALID_REQUEST", "custom_data"),
        ({"custom_data": {"value": -1}}, "INVALID_REQUEST", "custom_data.value"),
        ({"custom_data": {"value": "19.99"}}, "INVALID_REQUEST", "custom_data.value"),
        ({"custom_data": {"value": True}}, "INVALID_REQUEST", "custom_data.value"),
        ({"custom_data": {"value": 1e15}}, "INVALID_REQUEST", "custom_data.value"),
        ({"custom_data": {"num_items": 1.5}}, "INVALID_REQUEST", "custom_data.num_items"),
        ({"custom_data": {"contents": [{"id": "a"}, {"id": 2}]}}, "INVALID_REQUEST", "custom_data.contents[1].id"),
        (
            {"custom_data": {"contents": [{"id": "a", "quantity": 0}]}},
            "INVALID_REQUEST",
            "custom_data.contents[0].quantity",
        ),
        ({"custom_data": {"progress_percent": 101}}, "INVALID_REQUEST", "custom_data.progress_percent"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], reason: str, field: str) -> None:
    rejection = refused(json.dumps({**GOOD, **change}))
    assert (rejection.reason, rejection.field) == (reason, field)
    assert field in rejection.message


@pytest.mark.parametrize(
    ("member", "told"),
    [
        ('"event_id": "order_1", "event_id": "order_2"', "event_id"),
        ('"custom_data": {"value": 1, "value": 2}', "value"),
        ('"custom_data": {"zone": 1, "zone": 2}', "a field"),
        ('"x": {"y": [{"z": 1, "z": 1}]}', "a field"),
    ],
)
def test_a_name_given_twice_is_ambiguous(member: str, told: str) -> None:
    for colon in (":", ": ", " :"):
        text = '{"event_type":"lead","event_time":"2026-01-15T10:30:00Z",' + member.replace(":", colon) + "}"
        rejection = refused(text if "event_id" in member else text.replace("{", '{"event_id":"a",', 1))
        assert f"same field name twice: {told}" in rejection.message


@pytest.mark.parametrize(
    ("member", "told"),
    [
        ('"custom_data": {"order_total": 1e400}', "too large"),
        (f'"custom_data": {{"order_total": 1{"0" * 400}}}', "64 bits"),
        ('"custom_data": {"order_id": "\\ud800"}', "surrogate"),
        (f'"x": {"[" * 100}{"]" * 100}', f"deeper than {MAX_DEPTH}"),
        (f'"x": {"[" * 5000}{"]" * 5000}', f"deeper than {MAX_DEPTH}"),
    ],
)
def test_json_that_nobody_can_carry_is_refused_by_name(member: str, told: str) -> None:
    assert told in refused(json.dumps(GOOD)[:-1] + "," + member + "}").message


def test_a_bad_event_leaves_its_neighbours_alone() -> None:
    raws = [json.dumps(event).encode() for event in (GOOD, {**GOOD, "event_id": 5}, GOOD)]
    assert [type(decoded) for decoded in decode_events(raws)[0]] == [PendingEvent, Rejection, PendingEvent]


def test_members_that_adcp_does_not_know_are_kept() -> None:
    decoded = accepted({**GOOD, "surface": {"category": "app"}, "loyalty": 3, "custom_data": {"order_total": 12.5}})
    assert decoded.extra == {"surface": {"category": "app"}, "loyalty": 3}
    assert msgspec.json.decode(decoded.custom_data_json) == {"order_total": 12.5}


def test_members_of_an_item_that_adcp_does_not_know_are_kept() -> None:
    custom_data = {"contents": [{"category": "shoes", "id": "a", "price": 5}]}
    decoded = accepted({**GOOD, "custom_data": custom_data})
    assert msgspec.json.decode(decoded.custom_data_json) == custom_data


def test_an_item_is_checked_whatever_else_it_has() -> None:
    rejection = refused(json.dumps({**GOOD, "custom_data": {"contents": [{"id": 5, "jane@shop.example": 1}]}}))
    assert rejection.field == "custom_data.contents[0].id"
    assert "jane" not in rejection.message


def test_value_beside_custom_data_is_moved_into_it() -> None:
    decoded = accepted({**GOOD, "value": 89.0, "currency": "USD", "content_ids": ["ribeye"]})
    assert decoded.custom_data is not None
    assert (decoded.custom_data.value, decoded.custom_data.currency) == (89.0, "USD")
    assert decoded.warnings == ["MISPLACED_FIELD"] * 3


def test_value_inside_custom_data_wins_over_one_beside_it() -> None:
    decoded = accepted({**GOOD, "value": 1.0, "custom_data": {"value": 2.0}})
    assert decoded.custom_data is not None
    assert decoded.custom_data.value == 2.0


def test_null_is_the_same_as_absent() -> None:
    padded = {**GOOD, "user_match": None, "custom_data": {"value": 5, "currency": None}, "action_source": None}
    assert canonical(padded) == canonical({**GOOD, "custom_data": {"value": 5}})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9007199254740993", "9007199254740992"),
        ("[1e21]", "[1000000000000000000000]"),
        ('{"a": 0}', '{"a": -0.0}'),
        ('{"a": 1.50, "b": 5e3}', '{"b": 5000, "a": 1.5}'),
        ("12345678901234567890", "1.2345678901234567e19"),
    ],
)
def test_numbers_that_no_double_tells_apart_are_the_same(one: str, other: str) -> None:
    assert canonical_json(one.encode()) == canonical_json(other.encode())


@pytest.mark.parametrize("text", ["9" * 400, "1e400", "[1", '"1234567890123456'])
def test_what_cannot_be_parsed_stands_for_itself(text: str) -> None:
    assert canonical_json(text.encode()) == text.encode()


def test_unknown_identifiers_are_not_kept() -> None:
    decoded = accepted({**GOOD, "user_match": {"hashed_email": "a" * 64, "external_id": "42"}})
    assert decoded.warnings == ["UNKNOWN_IDENTIFIER external_id"]
    assert decoded.extra is None


def test_an_unhashed_address_fails_the_event_and_is_not_repeated() -> None:
    rejection = refused(json.dumps({**GOOD, "user_match": {"email": "jane@shop.example"}}))
    assert "unhashed" in rejection.message
    assert "jane" not in rejection.message


def events() -> st.SearchStrategy[dict[str, Any]]:
    numbers = st.one_of(st.integers(0, 10**9), st.floats(0, 1e9, allow_nan=False).map(lambda x: round(x, 2)))
    texts = st.text(max_size=20)
    custom_data = st.fixed_dictionaries(
        {},
        optional={
            "value": numbers,
            "currency": st.sampled_from(["USD", "EUR"]),
            "order_id": texts,
            "content_ids": st.lists(texts, max_size=3),
            "num_items": st.integers(0, 9),
            "order_total": numbers,
            "note": texts,
        },
    )
    return st.fixed_dictionaries(
        {
            "event_id": st.text(min_size=1, max_size=256),
            "event_type": st.just("purchase"),
            "event_time": st.just(GOOD["event_time"]),
        },
        optional={
            "custom_data": custom_data,
            "action_source": st.just("website"),
            "user_match": st.just({"hashed_email": "a" * 64}),
            "loyalty": numbers,
        },
    )


@given(events(), st.randoms())
def test_how_an_event_is_written_down_changes_nothing(event: dict[str, Any], random: Any) -> None:
    """Member order, white space, escapes, and 5 or 5.0: none is part of what was said."""
    shuffled = dict(random.sample(list(event.items()), len(event)))
    if "custom_data" in shuffled:
        shuffled["custom_data"] = {
            name: float(value) if name == "value" else value
            for name, value in random.sample(list(event["custom_data"].items()), len(event["custom_data"]))
        }
    compact: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False}
    spacious: dict[str, Any] = {"indent": 1, "separators": (" , ", " : ")}
    assert canonical(shuffled, **spacious) == canonical(event, **compact)
    stored = accepted(shuffled, **spacious).custom_data_json
    assert bytes(stored) == bytes(accepted(event, **compact).custom_data_json)


@settings(max_examples=300)
@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from([*GOOD, "custom_data", "user_match", "uids", "value", "ext", "é"]),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=12,
        ),
        max_size=5,
    )
)
def test_any_json_gets_a_verdict(members: list[Any]) -> None:
    raws = [json.dumps(member).encode() for member in members]
    verdicts, _ = decode_events(raws)
    assert len(verdicts) == len(members)
    assert all(v.reason in REASONS for v in verdicts if isinstance(v, Rejection))


_SPELLED = {"value": ["1", "1.0", "10e-1", "1.00"], "num_items": ["2", "2.0", "2e0"], "price": ["0.5", "5e-1"]}


@st.composite
def written_events(draw: st.DrawFn) -> str:
    """An event as text, right but for names given twice and nulls, with space anywhere and numbers in any spelling."""

    def space() -> str:
        return draw(st.sampled_from(["", "", " ", "\n "]))

    def text(value: str) -> str:
        plain = json.dumps(value, ensure_ascii=draw(st.booleans()))
        return f'"\\u{ord(value[0]):04x}{plain[2:]}' if value[:1].isalpha() and draw(st.integers(0, 5)) == 0 else plain

    def of(fields: dict[str, list[str]], needed: tuple[str, ...] = ()) -> str:
        names = [*needed, *draw(st.lists(st.sampled_from([n for n in fields if n not in needed]), max_size=4))]
        if draw(st.integers(0, 4)):
            names = list(dict.fromkeys(names))
        values = {name: fields[name] if name in needed else [*fields[name], "null"] for name in names}
        parts = [
            f"{text(name)}{space()}:{space()}{draw(st.sampled_from(values[name]))}"
            for name in draw(st.permutations(names))
        ]
        return f"{{{space()}{f'{space()},{space()}'.join(parts)}{space()}}}"

    texts = [text(value) for value in ("a", '":', "\u0022:", "é", "null")]
    item = of({"id": texts, "quantity": _SPELLED["num_items"], "price": _SPELLED["price"], "brand": texts}, ("id",))
    custom_data = of(
        {
            "value": _SPELLED["value"],
            "num_items": _SPELLED["num_items"],
            "order_id": texts,
            "content_ids": [f"[{texts[0]}{space()},{texts[1]}]", "[]"],
            "contents": [f"[{item}]", f"[{item},{item}]"],
            "unknown": [item, "1.0", "[]"],
        }
    )
    user_match = of({"hashed_email": texts, "uids": ['[{"type":"uid2","value":"x"}]', "[]"], "other": texts})
    return of(
        {
            "event_id": texts,
            "event_type": ['"lead"'],
            "event_time": ['"2026-01-15T10:30:00Z"', '"2026-01-15T10:30:00.5+00:00"'],
            "custom_data": [custom_data, "{}"],
            "user_match": [user_match, "{}"],
            "action_source": ['"website"'],
            "surface": [item],
        },
        ("event_id", "event_type", "event_time"),
    )


def _outcome(decoded: PendingEvent | Rejection) -> tuple[Any, ...]:
    if isinstance(decoded, Rejection):
        return decoded.reason, decoded.field, decoded.message
    event = msgspec.structs.asdict(decoded.event)
    return (
        event | {"custom_data": bytes(decoded.custom_data_json)},
        decoded.custom_data,
        decoded.extra,
        decoded.warnings,
    )


@pytest.mark.slow
@settings(max_examples=600)
@given(st.lists(written_events(), min_size=1, max_size=4))
def test_the_short_way_and_the_careful_one_agree(texts: list[str]) -> None:
    # A null is the same as nothing, and makes an event that is right in all else take the careful way.
    careful = [f'{text[:-1]},"custom_event_name":null}}'.encode() for text in texts]
    decoded, form = decode_events([text.encode() for text in texts])
    decoded_carefully, form_of_careful = decode_events(careful)

    assert list(map(_outcome, decoded)) == list(map(_outcome, decoded_carefully))
    if all(isinstance(event, PendingEvent) for event in decoded):
        assert form == form_of_careful
    alone = [decode_events([text.encode()]) for text in texts]
    assert [_outcome(event) for (event,), _ in alone] == list(map(_outcome, decoded))
    assert b"".join(form_alone for _, form_alone in alone) == form


@pytest.mark.slow
@settings(max_examples=600)
@given(written_events())
def test_an_event_is_refused_as_ambiguous_only_when_a_name_is_given_twice(text: str) -> None:
    repeated = False

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        repeated = repeated or len(dict(pairs)) < len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=once)
    decoded = decode_one(text)

    assert (isinstance(decoded, Rejection) and "same field name twice" in decoded.message) is repeated


@pytest.mark.parametrize("field", ['"value":10,"value" :99', '"value" :10,"value":99', '"value":10,"v\\u0061lue":99'])
@pytest.mark.parametrize("neighbour", ['"x" : 1', '"x":"\\u0022:"', '"x":1'])
def test_a_name_given_twice_is_found_beside_any_neighbour(field: str, neighbour: str) -> None:
    event = json.dumps(GOOD)[:-1]
    broken, beside = f'{event},"custom_data":{{{field}}}}}', f'{event},"custom_data":{{{neighbour}}}}}'

    decoded, _ = decode_events([broken.encode(), beside.encode(), broken.encode()])

    assert [type(event) for event in decoded] == [Rejection, PendingEvent, Rejection]


def test_an_integer_may_be_written_with_a_fraction_of_zero() -> None:
    event = json.dumps(GOOD)[:-1]
    custom_data = '{"num_items":%s,"contents":[{"id":"a","quantity":%s}]}'
    plain, spelled = (f'{event},"custom_data":{custom_data % (two, two)}}}' for two in ("2", "2.0"))

    (decoded, same), _ = decode_events([spelled.encode(), plain.encode()])

    assert _outcome(decoded) == _outcome(same)
    assert isinstance(decoded, PendingEvent)
    assert decoded.custom_data
    assert decoded.custom_data.num_items == 2


def _without_empty(event: dict[str, Any]) -> dict[str, Any]:
    """An empty custom_data says nothing, as a null does."""
    return {name: value for name, value in event.items() if value != {}}


@settings(max_examples=200)
@given(events(), events(), st.randoms(use_true_random=False))
def test_events_that_rfc_8785_writes_alike_are_the_same(event: dict[str, Any], other: dict[str, Any], r: Any) -> None:
    mixed = dict(r.sample(list(event.items()), len(event)))
    for written in (mixed, other):
        same = rfc8785.dumps(_without_empty(written)) == rfc8785.dumps(_without_empty(event))
        assert (canonical(written) == canonical(event)) is same
