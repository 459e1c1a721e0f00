"""What is forwarded where, in which words, and how often it is tried."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postback.errors import StartupError
from postback.forwarding.destination import read_destinations
from postback.forwarding.guard import is_public
from postback.forwarding.payload import EventTemplate, Unrenderable
from postback.forwarding.sealing import Seal, Unsealable
from postback.forwarding.sender import backoff

ENTRY = {"name": "crm", "event_source_id": "website", "url": "https://crm.example/take"}


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("2002:7f00:1::", False),
    ],
)
def test_only_addresses_of_the_public_internet_are_connected_to(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"url": "http://crm.example/take"}, "url must begin with https://"),
        ({"url": "ftp://crm.example/"}, "url must be a URL"),
        ({"url": "https://user:secret@crm.example/"}, "url must be a URL"),
        ({"name": "my crm"}, "name is wrong"),
        ({"shape": "xml"}, "shape is not known here"),
        ({"headers": {"Authorization": "env:NOT_SET"}}, "the variable NOT_SET, which is not set"),
        ({"template": "{% if %}"}, "template is not a template"),
        ({"template": "{{ event.event_id }}"}, "template makes no JSON"),
        ({"template": "{{ ''.__class__.__mro__ }}"}, "template"),
    ],
)
def test_a_destination_that_cannot_be_used_is_told_at_start(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(StartupError) as refused:
        read_destinations([ENTRY | change], "seller.toml", {})

    assert problem in str(refused.value)
    assert "secret" not in str(refused.value)


def test_two_destinations_have_two_names() -> None:
    with pytest.raises(StartupError, match=r"forwards\[1\].name"):
        read_destinations([ENTRY, ENTRY], "seller.toml", {})


def test_a_header_comes_from_the_environment() -> None:
    destinations = read_destinations([ENTRY | {"headers": {"X-Key": "env:KEY"}}], "seller.toml", {"KEY": "opensesame"})

    (destination,) = destinations.of("default", "website")
    assert destination.headers == {"X-Key": "opensesame"}
    assert destinations.of("default", "shop") == []


@given(st.dictionaries(st.text(), st.text() | st.integers(-(10**18), 10**18) | st.none() | st.lists(st.text())))
def test_whatever_an_event_holds_stays_one_value_of_the_templates_json(data: dict[str, Any]) -> None:
    template = EventTemplate.of('{"a": {{ event.custom_data | tojson }}, "b": {{ event.gone.deeper | tojson }}}', "t")

    body = template.body(json.dumps({"custom_data": data}).encode(), "website", "default")

    assert json.loads(body) == {"a": data, "b": None}


def test_an_event_of_which_a_template_makes_no_json_is_told() -> None:
    template = EventTemplate.of('{"n": {{ event.custom_data.n | default(1) }}}', "t")

    with pytest.raises(Unrenderable):
        template.body(b'{"custom_data": {"n": "}"}}', "website", "default")


@given(st.binary(max_size=500), st.text(max_size=50))
def test_what_is_sealed_is_opened_with_the_same_secret_and_name_only(plain: bytes, name: str) -> None:
    sealed = Seal(b"s" * 32).close(plain, name)

    assert Seal(b"s" * 32).open(sealed, name) == plain
    for other, called in ((Seal(b"t" * 32), name), (Seal(b"s" * 32), f"{name}2")):
        with pytest.raises(Unsealable):
            other.open(sealed, called)


@given(st.integers(0, 1000))
def test_waits_double_to_an_hour(attempts: int) -> None:
    assert min(3600.0, 2.0 ** min(attempts + 1, 20)) / 2 <= backoff(attempts) <= 3600.0
