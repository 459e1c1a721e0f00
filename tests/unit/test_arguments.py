"""A call's arguments are one JSON object, and each of its fields is what its own bytes say."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from postback.errors import InvalidRequest
from postback.events.rejection import Rejection
from postback.events.request import LogEventRequest, events_of
from postback.exposures.validate import read_carefully
from postback.media_buys.update_request import UpdateMediaBuyRequest
from postback.tasks.arguments import Arguments, pin_of
from postback.tasks.get_media_buys import GetMediaBuysRequest
from postback.tasks.report_delivery import HourTotal


@pytest.mark.parametrize("events", ['[{"a": 1}]', "[]", "[1]", "1", "true", '"x"', "null", "{}"])
@pytest.mark.parametrize("first", ["context", "events"])
def test_context_is_echoed_unchanged_whatever_it_has_in_common_with_events(events: str, first: str) -> None:
    context = f'{{"copy": {events}, "text": {json.dumps(events)}, "n": 1.0, "null": null}}'
    fields = {"context": context, "events": events, "adcp_version": '"3.1"'}
    names = [first, *(name for name in fields if name != first)]
    body = "{" + ", ".join(f'"{name}": {fields[name]}' for name in names) + "}"

    arguments = Arguments(body.encode())

    assert repr(arguments.context()) == repr(json.loads(context))
    assert bytes(arguments.fields["events"]).decode() == events
    assert arguments.value("adcp_version") == "3.1"


@pytest.mark.parametrize("events", ["1", "true", "3.1", '"3.1"'])
def test_events_that_are_no_array_are_blamed_and_nothing_else_changes(events: str) -> None:
    body = f'{{"account":{{"sandbox":true}},"adcp_version":"3.1","event_source_id":"1","events":{events}}}'
    arguments = Arguments(body.encode())

    assert arguments.value("account") == {"sandbox": True}
    assert arguments.value("adcp_version") == "3.1"
    with pytest.raises(InvalidRequest) as refused:
        events_of(arguments.to(LogEventRequest))
    assert refused.value.field == "events"


class _Request(msgspec.Struct):
    priority: int | None = None
    interval: Annotated[int, Meta(ge=1)] | None = None
    parts: list[dict[str, int]] = []
    params: dict[str, Any] = {}


def test_an_integer_may_be_written_with_a_fraction_of_zero_at_any_depth() -> None:
    body = b'{"priority":1.0,"interval":2.00,"parts":[{"a":3e0}],"params":{"limit":4.0}}'

    request = Arguments(body).to(_Request)

    assert repr(request) == repr(_Request(1, 2, [{"a": 3}], {"limit": 4}))


_DURATION = '{"interval": %s, "unit": "days"}'


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        (UpdateMediaBuyRequest, '{"media_buy_id": "m", "revision": %s}'),
        (GetMediaBuysRequest, '{"pagination": {"max_results": %s}}'),
        (
            UpdateMediaBuyRequest,
            '{"media_buy_id": "m", "packages": [{"package_id": "p", "optimization_goals": [{"kind": "event", '
            '"event_sources": [{"event_source_id": "s", "event_type": "lead"}], "priority": %s, '
            f'"attribution_window": {{"post_click": {_DURATION}}}}}]}}]}}',
        ),
    ],
)
def test_requests_take_integers_as_clients_over_a2a_write_them(shape: Any, body: str) -> None:
    plain, spelled = (Arguments(body.replace("%s", number).encode()).to(shape) for number in ("7", "7.0"))

    assert repr(spelled) == repr(plain)
    assert "7" in repr(plain)


def test_totals_take_them_too() -> None:
    body = b'{"media_buy_id":"m","package_id":"p","hour":"2026-01-15T10:00:00Z","impressions":3.0,"clicks":1e1,%b}'

    total = read_carefully(body % b'"spend":12.345678901,"currency":"USD"', HourTotal, "The total", [])

    assert (total.impressions, total.clicks, total.spend) == (3, 10, Decimal("12.345678901"))
    with pytest.raises(Rejection, match="impressions must be an integer; it is a number"):
        read_carefully(body.replace(b"3.0", b"3.5") % b'"spend":1,"currency":"USD"', HourTotal, "The total", [])


@pytest.mark.parametrize("body", [b'{"adcp_major_version": 3.0}', b'{"adcp_major_version": 3.0, "x": 1, "x": 2}'])
def test_the_major_version_may_be_written_so_too(body: bytes) -> None:
    assert repr(pin_of(body)) == "(None, 3)"


def test_a_fraction_is_still_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"interval must be an integer; it is a number"):
        Arguments(b'{"interval": 1.5}').to(_Request)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"ext":1,"ext" :2}', "ext"),
        (b'{"ext":1,"e\\u0078t":2}', "ext"),
        (b'{"a":"\\u0022:","ext" : 1 , "ext":2}', "ext"),
        (b'{"events":[1],"ext":1,"events":[2]}', "events"),
        (b'{"ext":{"a" :1,"a":2},"events":[]}', "ext"),
        (b'{"ext":{"b":"\\u0022:","a":1,"a":2}}', "ext"),
    ],
)
def test_a_name_given_twice_is_refused_however_it_is_written(body: bytes, field: str) -> None:
    with pytest.raises(InvalidRequest, match="same field name") as refused:
        Arguments(body)

    assert refused.value.field == field


def test_calls_are_compared_by_what_they_say() -> None:
    one = Arguments(b'{"account":{"account_id":"a","brand":{"x":1.0}},"packages":[1e2],"context":{"a":1}}')
    same = Arguments(b'{"packages": [100], "account": {"brand":{"x":1},"account_id":"\\u0061"}}')
    other = Arguments(b'{"packages": [101], "account": {"brand":{"x":1},"account_id":"a"}}')

    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
