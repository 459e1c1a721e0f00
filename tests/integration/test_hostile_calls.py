"""Calls that nobody should send, through every door: each gets a clear answer, and the next call its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.acceptance.conversions import DOORS, Door, order, send
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid

if TYPE_CHECKING:
    from tests.conftest import Server


def _with(members: str) -> bytes:
    """A call that is right but for these members."""
    return f'{{"event_source_id":"website","events":[{json.dumps(order("fine"))}],{members}}}'.encode()


_REFUSED_CALLS = {
    "not an object": (b"[]", None),
    "a string": (b'"events"', None),
    "no source": (b'{"events":[{}]}', "event_source_id"),
    "no events": (b'{"event_source_id":"website"}', "events"),
    "empty events": (b'{"event_source_id":"website","events":[]}', "events"),
    "events is null": (b'{"event_source_id":"website","events":null}', "events"),
    "events is an object": (b'{"event_source_id":"website","events":{}}', "events"),
    "events is text": (b'{"event_source_id":"website","events":"[]"}', "events"),
    "too many events": (b'{"event_source_id":"website","events":[%s{}]}' % (b"{}," * 10_000), "events"),
    "millions of events": (b'{"event_source_id":"website","events":[%s0]}' % (b"0," * 3_000_000), "events"),
    "source is a number": (b'{"event_source_id":5,"events":[{}]}', "event_source_id"),
    "source is a list": (b'{"event_source_id":["website"],"events":[{}]}', "event_source_id"),
    "source is half a pair": (b'{"event_source_id":"\\ud800","events":[{}]}', "event_source_id"),
    "ext has half a pair": (_with('"ext":{"y":"\\udc00"}'), "ext"),
    "source is unknown and long": (b'{"event_source_id":"%s","events":[{}]}' % (b"x" * 300), "event_source_id"),
    "source has a NUL": (b'{"event_source_id":"web\\u0000site","events":[{}]}', "event_source_id"),
    "test code is a number": (_with('"test_event_code":5'), "test_event_code"),
    "test code is long": (_with(f'"test_event_code":"{"x" * 300}"'), "test_event_code"),
    "test code has a NUL": (_with('"test_event_code":"\\u0000"'), "test_event_code"),
    "account is a number": (_with('"account":5'), "account"),
    "account names twice": (_with('"account":{"account_id":"a","account_id":"default"}'), "account"),
    "key is a number": (_with('"idempotency_key":5'), "idempotency_key"),
    "key is endless": (_with(f'"idempotency_key":"{"x" * 100_000}"'), "idempotency_key"),
    "version is a number": (_with('"adcp_version":3.1'), "adcp_version"),
    "version is endless": (_with(f'"adcp_version":"{"3" * 100_000}.1"'), "adcp_version"),
    "major version is text": (_with('"adcp_major_version":"3"'), "adcp_major_version"),
    "context is text": (_with('"context":"x"'), "context"),
    "context is large": (_with(f'"context":{{"x":"{"y" * 100_000}"}}'), "context"),
    "context has 1e400": (_with('"context":{"x":[1e400]}'), "context"),
    "context names twice": (_with('"context":{"x":{"y":1,"y":2}}'), "context"),
    "ext names twice": (_with('"ext":[{"y":1,"y":2}]'), "ext"),
    "a member twice": (_with('"test_event_code":"a","test_event_code":"b"'), "test_event_code"),
    "events twice": (_with('"events":[]'), "events"),
    "context is 65 levels deep": (_with('"context":' + '{"x":' * 65 + "1" + "}" * 65), "context"),
    "5,000 levels": (_with(f'"ext":{"[" * 5_000}{"]" * 5_000}'), None),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("arguments", "field"), _REFUSED_CALLS.values(), ids=_REFUSED_CALLS)
def test_a_call_that_is_no_batch_is_refused_by_name(
    server: Server, door: Door, arguments: bytes, field: str | None
) -> None:
    status, answer = send(server, door, "log_event", arguments)

    if "jsonrpc" in answer:  # so deep that there is no telling where the arguments end
        assert answer["error"]["code"] == -32700
        return
    assert answer["adcp_error"].get("field") == field
    assert status < 500
    assert len(json.dumps(answer)) < 2_000
    refuse_unless_valid("log_event", answer, None)


@pytest.mark.parametrize("release", DIALECTS)
def test_a_batch_that_is_too_large_is_told_so_in_every_dialect(server: Server, release: str | None) -> None:
    arguments = {"event_source_id": "website", "events": [{}] * 10_001} | pinned(release)

    status, answer = send(server, "rest", "log_event", json.dumps(arguments).encode())

    assert status == 400
    assert answer["adcp_error"]["details"]["reason"] == "BATCH_TOO_LARGE"
    refuse_unless_valid("log_event", answer, release)


def _event(member: str) -> str:
    """An event that is right but for a member."""
    return json.dumps(order("broken"))[:-1] + f",{member}}}"


_NESTED = "[" * 100 + "]" * 100
_FAILED_EVENTS = {
    "null": ("null", ""),
    "a number": ("5", ""),
    "a list": ('[{"event_id":"a"}]', ""),
    "nothing in it": ("{}", "event_id"),
    "no text in the name": (json.dumps(order("broken") | {"event_id": ""}), "event_id"),
    "300 characters": (json.dumps(order("x" * 300)), "event_id"),
    "300 emoji": (json.dumps(order("\U0001f600" * 300)), "event_id"),
    "NUL in the name": (json.dumps(order("a\0b")), "event_id"),
    "line break in the name": (json.dumps(order("a\nb")), "event_id"),
    "type is an object": (json.dumps(order("broken", event_type={"purchase": 1})), "event_type"),
    "time is a number": (json.dumps(order("broken", event_time=1e300)), "event_time"),
    "time does not exist": (json.dumps(order("broken", event_time="2026-02-30T10:00:00Z")), "event_time"),
    "time is endless": (json.dumps(order("broken", event_time="2026-01-01T10:00:00." + "0" * 100_000)), "event_time"),
    "person is a list": (json.dumps(order("broken", user_match=[])), "user_match"),
    "uids is text": (json.dumps(order("broken", user_match={"uids": "uid2"})), "user_match.uids"),
    "uid is a number": (json.dumps(order("broken", user_match={"uids": [5]})), "user_match.uids[0]"),
    "uid value is a list": (
        json.dumps(order("broken", user_match={"uids": [{"type": "uid2", "value": ["x"]}]})),
        "user_match.uids[0].value",
    ),
    "custom_data is text": (json.dumps(order("broken", custom_data="EUR")), "custom_data"),
    "value is text": (json.dumps(order("broken", custom_data={"value": "1e9"})), "custom_data.value"),
    "value is 1e400": (json.dumps(order("broken", custom_data={"value": 7})).replace("7}", "1e400}"), ""),
    "value is 400 digits": (
        json.dumps(order("broken", custom_data={"value": 7})).replace("7}", "7" * 400 + "}"),
        "",
    ),
    "currency is a list": (json.dumps(order("broken", custom_data={"currency": ["EUR"]})), "custom_data.currency"),
    "contents is an object": (json.dumps(order("broken", custom_data={"contents": {}})), "custom_data.contents"),
    "item without id": (json.dumps(order("broken", custom_data={"contents": [{}]})), "custom_data.contents[0].id"),
    "item's price is text": (
        json.dumps(order("broken", custom_data={"contents": [{"id": "a", "price": "1"}]})),
        "custom_data.contents[0].price",
    ),
    "item names twice": (
        json.dumps(order("broken", custom_data={"contents": [{"id": 7}]})).replace("7}", '"a","id":"b"}'),
        "",
    ),
    "named twice": (_event('"event_id":"other"'), ""),
    "person names twice": (json.dumps(order("broken", user_match={"uids": 7})).replace("7}", '[],"uids":[]}'), ""),
    "unknown member names twice": (_event('"x":{"y":1,"y":1}'), ""),
    "unknown member is 1e400": (_event('"x":1e400'), ""),
    "100 levels": (_event(f'"x":{_NESTED}'), ""),
    "100 levels in custom_data": (json.dumps(order("b", custom_data={"x": 7})).replace("7}", f"{_NESTED}}}"), ""),
    "100 levels in user_match": (json.dumps(order("b", user_match={"uids": 7})).replace("7}", f"{_NESTED}}}"), ""),
    "a megabyte": (_event(f'"x":"{"y" * 1_000_000}"'), ""),
    "URL of a megabyte": (json.dumps(order("b", event_source_url="//" * 400_000)), "event_source_url"),
}


@pytest.mark.parametrize("door", DOORS)
def test_events_that_are_broken_fail_each_with_its_field_and_cost_no_other(server: Server, door: Door) -> None:
    good = [json.dumps(order(f"{door}_{number}")) for number in range(len(_FAILED_EVENTS) + 1)]
    events = [
        event for pair in zip(good, (broken for broken, _ in _FAILED_EVENTS.values()), strict=False) for event in pair
    ]
    arguments = f'{{"event_source_id":"website","events":[{",".join([*events, good[-1]])}]}}'

    _, answer = send(server, door, "log_event", arguments.encode())

    refuse_unless_valid("log_event", answer, None)
    told = {failure["index"]: failure["field"] for failure in answer["partial_failures"]}
    expected = {
        2 * number + 1: f"events[{2 * number + 1}].{field}".rstrip(".")
        for number, (_, field) in enumerate(_FAILED_EVENTS.values())
    }
    assert told == expected
    assert answer["events_processed"] == len(good)


@pytest.mark.parametrize("door", DOORS)
def test_a_context_of_64_levels_is_echoed(server: Server, door: Door) -> None:
    context = '{"x":' * 64 + "1" + "}" * 64

    _, answer = send(server, door, "log_event", _with(f'"context":{context}'))

    assert answer["events_processed"] == 1
    assert answer["context"] == json.loads(context)


def test_a_nul_inside_a_text_is_kept_as_it_is(server: Server) -> None:
    event = order(
        "nul", event_type="custom", custom_event_name="a\0b", custom_data={"order_id": "c\0d"}, x={"\0": "\0"}
    )

    _, answer = send(
        server, "rest", "log_event", json.dumps({"event_source_id": "website", "events": [event]}).encode()
    )

    assert answer["events_processed"] == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{'events': []}",
        b'{"events": [],}',
        b'{"events": [NaN]}',
        b'{"events": [-Infinity]}',
        b'{"events": [01]}',
        b'{"events": ["\x00"]}',
        b'{"events": [] /* none */}',
        b'{"events": []} {"events": []}',
        b'\xef\xbb\xbf{"events": []}',
        '{"events": []}'.encode("utf-16"),
        b"\x1f\x8b\x08\x00",
        b"event_id=1&event_type=lead",
        b"<events/>",
    ],
)
def test_what_is_not_json_is_told_where_it_stops_being_json(server: Server, text: bytes) -> None:
    with server.client() as client:
        rest, *others = (client.post(path, content=text or b" ") for path in ("/v1/log_event", "/mcp", "/a2a"))

    assert rest.status_code == 400
    assert rest.json()["adcp_error"]["message"].startswith(("The body is not JSON", "The body is not UTF-8"))
    for other in others:
        assert other.status_code == 400
        assert other.json()["error"]["code"] in (-32700, -32600)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "half", ["\\ud800", "\\udc00", "\\uD800x", "\\udc00\\ud800", "\\ud83d\\n", "\\\\\\ud800", "\\ud800\\ud83d\\ude00"]
)
def test_half_a_surrogate_pair_costs_its_event_only(server: Server, door: Door, half: str) -> None:
    whole = json.dumps(order("\U0001f600", custom_data={"order_id": "\\ud800"}))
    events = ",".join([whole, _event(f'"x":"{half}"'), json.dumps(order("whole"))])

    _, answer = send(server, door, "log_event", f'{{"event_source_id":"website","events":[{events}]}}'.encode())

    assert answer["events_processed"] == 2
    assert answer["partial_failures"][0]["index"] == 1
    assert "half of a surrogate pair" in answer["partial_failures"][0]["message"]


@pytest.mark.parametrize("door", DOORS)
def test_text_that_is_not_utf_8_is_refused(server: Server, door: Door) -> None:
    _, answer = send(server, door, "log_event", b'{"event_source_id": "website", "events": [{"event_id": "\xff"}]}')

    assert "not UTF-8" in answer["adcp_error"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        "website/purchase/%00",
        "website/purchase/%ff%fe",
        "website/purchase/%ed%a0%80",
        "website/purchase/..%2f..%2fetc%2fpasswd",
        "website/%27%20OR%201=1%20--/x",
        "website/purchase/%5c%27%0a%09%7Bname:String%7D",
        f"website/purchase/{'x' * 10_000}",
        f"{'x' * 300}/purchase/never-sent",
        "website/purchase/never-sent?account_id=%00",
        "website/purchase/never-sent?account_id=%ff&account_id=default",
    ],
)
def test_no_path_is_more_than_an_event_that_is_not_there(server: Server, path: str) -> None:
    with server.client() as client:
        response = client.get(f"/v1/events/{path}")

    assert response.status_code == 404
    assert response.json()["status"] == "failed"
