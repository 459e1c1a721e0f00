"""What is forwarded where, in which words, and how often it is tried."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.clocks import Hands

from postback.errors import Overloaded, StartupError
from postback.event_sources.signals import SignalChange, SourceSignal
from postback.forwarding.alerts import alerts_of
from postback.forwarding.destination import read_destinations
from postback.forwarding.encryption import Encryptor, Undecryptable
from postback.forwarding.forwarding import Forwarding
from postback.forwarding.outbox import Delivery, Outbox
from postback.forwarding.private_networks import GuardedTransport, is_public
from postback.forwarding.requests import pack_events
from postback.forwarding.sender import Sender, backoff
from postback.forwarding.sent_requests import SentCall, SentCalls
from postback.forwarding.template import EventTemplate, Unrenderable
from postback.metrics import Metrics
from postback.store.control_store import ControlStore
from postback.threads import ThreadPool, Threads

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
        ("2001:0:5ef5:79fd:0:59d:a0e5:ba1", False),
        ("64:ff9b::169.254.169.254", False),
        ("64:ff9b::93.184.216.34", True),
        ("64:ff9b:1::10.0.0.1", False),
        ("::127.0.0.1", False),
        ("::10.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("fec0::1", False),
        ("192.88.99.1", False),
        ("3fff::1", False),
    ],
)
def test_only_addresses_of_the_public_internet_are_connected_to(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_the_host_that_is_looked_up_is_the_one_that_the_url_names(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> None:
        looked_up.append(host)
        raise socket.gaierror

    async def send() -> None:
        transport = GuardedTransport(allow_private=False)
        with pytest.raises(httpx2.ConnectError):
            await transport.handle_async_request(httpx2.Request("POST", "https://straße.example/take"))
        await transport.aclose()

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    asyncio.run(send())
    assert looked_up == ["xn--strae-oqa.example"], "Python's own IDNA would ask for strasse.example, another host"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"url": "http://crm.example/take"}, "url must begin with https://"),
        ({"url": "ftp://crm.example/"}, "url must be a URL"),
        ({"url": "https://user:secret@crm.example/"}, "url must be a URL"),
        ({"url": "https://:secret@crm.example/"}, "url must be a URL"),
        ({"url": "https://crm example/x"}, "url must be a URL"),
        ({"url": "https://crm.example:99999/"}, "url must be a URL"),
        ({"url": "https://[::1"}, "url must be a URL"),
        ({"url": "env:CRM_URL"}, "url refers to the environment variable CRM_URL"),
        ({"name": "my crm"}, "name must match the pattern"),
        ({"shape": "xml"}, "shape is not a known field"),
        ({"headers": {"Authorization": "env:NOT_SET"}}, "the environment variable NOT_SET, which is not set"),
        ({"headers": {"Authorization": "env:ENDS"}}, "headers.Authorization must be printable ASCII"),
        ({"headers": {"Authorization": "Bearer secr\xe9t"}}, "headers.Authorization must be printable ASCII"),
        ({"headers": {"X Key": "a"}}, "headers contains an invalid HTTP header name"),
        ({"headers": {"Content-type": "text/plain"}}, "headers.Content-type is set by Postback itself"),
        ({"template": "{% if %}"}, "template is not a valid template"),
        ({"template": "{{ event.event_id }}"}, "template does not render valid JSON"),
        ({"template": '{"order": "{{ event.event_id }}"}'}, "needs the filter tojson"),
        ({"template": "{{ event.custom_data.value / 0 }}"}, "ZeroDivisionError"),
        ({"template": "{{ ''.__class__.__mro__ }}"}, "template"),
    ],
)
def test_a_destination_that_cannot_be_used_is_told_at_start(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(StartupError) as refused:
        read_destinations([ENTRY | change], "seller.toml", {"ENDS": "secret\n"})

    assert problem in str(refused.value)
    assert "secret" not in str(refused.value)


def test_two_destinations_have_two_names() -> None:
    with pytest.raises(StartupError, match=r"forwards\[1\].name"):
        read_destinations([ENTRY, ENTRY], "seller.toml", {})


def test_a_header_and_a_url_come_from_the_environment() -> None:
    entry = ENTRY | {"headers": {"X-Key": "env:KEY"}, "url": "env:URL"}
    environ = {"KEY": "opensesame", "URL": "https://crm.example/?key=opensesame"}
    destinations = read_destinations([entry], "seller.toml", environ)

    (destination,) = destinations.of("default", "website")
    assert destination.headers == {"X-Key": "opensesame"}
    assert destination.url == "https://crm.example/?key=opensesame"
    assert destinations.of("default", "shop") == []


@given(st.dictionaries(st.text(), st.text() | st.integers(-(10**18), 10**18) | st.none() | st.lists(st.text())))
def test_whatever_an_event_holds_stays_one_value_of_the_templates_json(data: dict[str, Any]) -> None:
    template = EventTemplate.of('{"a": {{ event.custom_data | tojson }}, "b": {{ event.gone.deeper | tojson }}}', "t")

    body = template.body(json.dumps({"custom_data": data}).encode(), "website", "default")

    assert json.loads(body) == {"a": data, "b": None}


@pytest.mark.parametrize("text", ['{"n": "{{ event.custom_data.mine }}"}', '{"n": {{ event.custom_data.mine }}}'])
def test_a_buyer_adds_no_member_of_its_own(text: str) -> None:
    template = EventTemplate.of(text.replace("}}}", "| default(1) }}}"), "t")

    with pytest.raises(Unrenderable, match="ValueError"):
        template.body(json.dumps({"custom_data": {"mine": '1", "admin": "1'}}).encode(), "website", "default")


def test_a_template_reads_members_and_never_a_dicts_methods() -> None:
    template = EventTemplate.of(
        '[{{ event.custom_data.items | tojson }}, {{ event.custom_data["keys"] | tojson }}]', "t"
    )

    assert json.loads(template.body(b'{"custom_data": {"items": [1]}, "user_match": {}}', "website", "default")) == [
        [1],
        None,
    ]


@pytest.mark.parametrize("n", ['"}"', "1e308", "{}"])
def test_an_event_of_which_a_template_makes_no_json_is_told(n: str) -> None:
    template = EventTemplate.of('{"n": {{ event.custom_data.n | default(1) * 10 }}}', "t")

    with pytest.raises(Unrenderable):
        template.body(f'{{"custom_data": {{"n": {n}}}}}'.encode(), "website", "default")


@given(st.binary(max_size=500), st.text(max_size=50))
def test_what_is_sealed_is_opened_with_the_same_secret_and_name_only(plain: bytes, name: str) -> None:
    encrypted = Encryptor(b"s" * 32).encrypt(plain, name)

    assert Encryptor(b"s" * 32).decrypt(encrypted, name) == plain
    for other, called in ((Encryptor(b"t" * 32), name), (Encryptor(b"s" * 32), f"{name}2")):
        with pytest.raises(Undecryptable):
            other.decrypt(encrypted, called)


@given(st.integers(0, 1000))
def test_waits_double_to_an_hour(attempts: int) -> None:
    longest = min(3600.0, 2.0 ** (attempts + 1))

    assert longest / 2 <= backoff(attempts) <= longest


class Clock:
    """A clock that stands until it is moved."""

    time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlStore]:
    store = ControlStore(f"sqlite:///{tmp_path}/control.db")
    store.migrate()
    yield store
    store.close()


def deliveries(count: int, template: str | None = None) -> list[Delivery]:
    (destination,) = read_destinations([ENTRY | {"template": template}], "seller.toml", {}).all()
    events = [msgspec.Raw(f'{{"event_id": "{number}"}}'.encode()) for number in range(count)]
    return pack_events(ENCRYPTOR, destination, "key", events)


async def delivered(outbox: Outbox, metrics: Metrics, answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
    (destination,) = read_destinations([ENTRY], "seller.toml", {}).all()
    sender = Sender(destination, outbox, ENCRYPTOR, metrics, SentCalls(0), ThreadPool("background", 2))
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        await sender.deliver(client)


ENCRYPTOR = Encryptor(b"s" * 32)


@pytest.mark.anyio
async def test_an_alert_whose_command_fails_waits_and_is_handed_over_again(
    control: ControlStore, tmp_path: Path
) -> None:
    program, told = tmp_path / "page", tmp_path / "told"
    program.write_text('#!/bin/sh\ntest -e "$1.ready" || exit 7\ncat > "$1"\n')
    program.chmod(0o700)
    entry = {"name": "pager", "command": [str(program), str(told)]}
    [destination] = read_destinations([], "seller.toml", {}, [entry]).alerts
    clock, metrics = Clock(), Metrics()
    outbox = Outbox(control, clock)
    signal = SourceSignal("acme", "website", "offline", "imp_1", datetime.now(UTC), "No event.")
    outbox.put([*alerts_of(ENCRYPTOR, [destination], [SignalChange(signal, "opened")])])
    sender = Sender(destination, outbox, ENCRYPTOR, metrics, SentCalls(0), ThreadPool("background", 2))

    async with httpx2.AsyncClient() as client:
        await sender.deliver(client)
        [waiting] = outbox.listed(dead=False)
        assert (waiting.attempts, waiting.error) == (1, "the command ended with status 7")
        (tmp_path / "told.ready").touch()
        clock.time += 3602
        await sender.deliver(client)

    assert outbox.listed(dead=False) == []
    assert b'"signal_id":"imp_1"' in told.read_bytes()


@pytest.mark.anyio
@pytest.mark.parametrize("retry_after", ["", "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"])
async def test_after_twelve_attempts_a_delivery_is_dead_lettered(control: ControlStore, retry_after: str) -> None:
    clock, metrics = Clock(), Metrics()
    outbox = Outbox(control, clock)
    outbox.put(deliveries(3))

    for attempt in range(1, 13):
        (waiting,) = outbox.listed(dead=False)
        assert waiting.attempts == attempt - 1
        await delivered(outbox, metrics, lambda _: httpx2.Response(503, headers={"Retry-After": retry_after}))
        clock.time += 3602

    (dead,) = outbox.listed(dead=True)
    assert (dead.attempts, dead.error, dead.events) == (12, "HTTP 503", 3)
    assert outbox.next_attempt("crm") is None


@pytest.mark.anyio
async def test_a_defect_is_a_failed_attempt_too(control: ControlStore) -> None:
    outbox = Outbox(control, Clock())
    outbox.put(deliveries(1))

    def answer(_: httpx2.Request) -> httpx2.Response:
        raise ZeroDivisionError

    await delivered(outbox, Metrics(), answer)

    (waiting,) = outbox.listed()
    assert (waiting.attempts, waiting.error, waiting.dead) == (1, "internal error (ZeroDivisionError)", False)


@pytest.mark.anyio
async def test_an_operator_sees_what_waits_and_what_was_given_up(control: ControlStore) -> None:
    metrics, outbox = Metrics(), Outbox(control, Clock())
    metrics.backlog(outbox.backlog)
    outbox.put(deliveries(2))
    await delivered(outbox, metrics, lambda _: httpx2.Response(400))
    outbox.put(deliveries(3, "{{ event | tojson }}"))

    told = metrics.render().decode()

    assert 'postback_forwarding_dead_lettered_events{destination="crm"} 2.0' in told
    assert 'postback_forwarding_queued_events{destination="crm"} 3.0' in told
    assert 'postback_forwarding_oldest_event_timestamp_seconds{destination="crm"} 1e+06' in told
    assert 'postback_forwarding_events_total{destination="crm",outcome="dead_lettered"} 2.0' in told


def test_what_is_not_tried_is_kept_for_thirty_days(control: ControlStore) -> None:
    clock = Clock()
    outbox = Outbox(control, clock)
    dead, gone, waiting = deliveries(1), deliveries(2), deliveries(3)
    outbox.put([*dead, gone[0]._replace(destination="renamed"), *waiting])
    outbox.failed(dead[0], "it answered 400", None)

    clock.time += 30 * 86_400 - 1
    assert outbox.purge(["crm"], clock.time) == 0
    clock.time += 1
    assert outbox.purge(["crm"], clock.time) == 2

    assert [delivery.events for delivery in outbox.listed()] == [3]


@pytest.mark.anyio
async def test_a_source_whose_destination_has_too_much_waiting_takes_no_more(
    control: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    destinations = read_destinations([ENTRY], "seller.toml", {})
    forwarding = Forwarding(destinations, control, b"s" * 32, Metrics(), Threads(1), Hands().clock, record=False)
    Outbox(control).put(deliveries(1))
    monkeypatch.setattr("postback.forwarding.forwarding.MAX_OUTBOX_BYTES", 100)

    await forwarding.require_room("default", "another")
    with pytest.raises(Overloaded):
        await forwarding.require_room("default", "website")


@pytest.mark.parametrize(("template", "declares"), [(None, True), ("{{ event | tojson }}", False)])
def test_only_a_destination_without_a_template_takes_declarations(
    control: ControlStore, template: str | None, declares: bool
) -> None:
    destinations = read_destinations([ENTRY | {"template": template}], "seller.toml", {})

    assert (
        Forwarding(destinations, control, b"s" * 32, Metrics(), Threads(1), Hands().clock, record=True).declares
        is declares
    )


def test_a_call_that_is_repeated_adds_nothing_to_what_waits(control: ControlStore) -> None:
    outbox = Outbox(control)
    outbox.put(deliveries(3))
    outbox.put(deliveries(3))
    outbox.put(deliveries(2))

    assert [delivery.events for delivery in outbox.listed()] == [3, 2]


def test_a_sandbox_remembers_so_many_bytes() -> None:
    sent = SentCalls(10_000)
    for number in range(10):
        sent.add(SentCall("key", "https://crm.example/", b"x" * 1_000, 200 + number, datetime(2026, 1, 1, tzinfo=UTC)))

    assert [call.status for call in sent.of("key", datetime(2026, 1, 1, tzinfo=UTC))] == [205, 206, 207, 208, 209]
