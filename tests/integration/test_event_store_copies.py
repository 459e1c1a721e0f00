"""Copies in the event store: exact repeats collapse, others stay, whatever the order of inserts and merges."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import examples
from tests.engine import open_events, select

from postback.protocol.timestamps import micros
from postback.store.copies import EventContent, changed_fields
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.rows import Rows

NOW = time.time_ns() // 1_000
_ACCOUNTS = count()

EMAIL, PHONE, CLICK = (bytes([kind]) + letter * 15 for kind, letter in ((1, b"e"), (2, b"p"), (3, b"c")))
_SAID = {
    "event_time": st.sampled_from([NOW, NOW + 1, NOW + 2**32, NOW - 1_000_000]),
    "action_source": st.sampled_from(["website", "app"]),
    "custom_event_name": st.sampled_from(["", "trial"]),
    "custom_data": st.sampled_from([b"", b'{"value":100.0}', b'{"value":80.0}', b'{"value":100.0,"order_id":"7"}']),
    "match_keys": st.sampled_from([b"", EMAIL, EMAIL + PHONE, CLICK]),
}
_COPIES = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.fixed_dictionaries(_SAID)), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    folder = DataDir.open(tmp_path_factory.mktemp("data"))
    store = open_events(folder.path)
    yield store
    store.close()
    folder.close()


def event(account_id: str, event_id: str, said: dict[str, Any], received_at: int) -> Rows:
    values = said | {
        "account_id": account_id,
        "event_source_id": "website",
        "event_type": "purchase",
        "event_id": event_id,
        "event_source_url": "",
        "extra": b"",
        "quality": 0.5,
        "warnings": [],
        "received_at": received_at,
    }
    return Rows("event", {name: [value] for name, value in values.items()})


def as_received(copies: list[tuple[str, dict[str, Any]]], event_id: str) -> list[tuple[int, dict[str, Any]]]:
    """What must be stored of one event: its different copies by the time at which each first arrived."""
    found: list[tuple[int, dict[str, Any]]] = []
    for number, (id_, said) in enumerate(copies):
        known = [other | {"action_source": said["action_source"]} for _, other in found]
        if id_ == event_id and said not in known:
            found.append((NOW + number, said))
    return found


@examples(25)
@given(copies=_COPIES, order=st.randoms(use_true_random=False), merged=st.integers(0, 8))
def test_each_different_copy_stays_with_the_time_at_which_it_first_arrived(
    store: EventStore, copies: list[tuple[str, dict[str, Any]]], order: Any, merged: int
) -> None:
    account_id = f"account-{next(_ACCOUNTS)}"
    inserts = list(enumerate(copies))
    order.shuffle(inserts)
    for place, (number, (event_id, said)) in enumerate(inserts):
        store.insert([event(account_id, event_id, said, NOW + number)])
        if place == merged:
            store.deriver.command("OPTIMIZE TABLE event FINAL")

    for event_id in ("a", "b"):
        expected = as_received(copies, event_id)
        status = store.status(account_id, "website", "purchase", event_id)
        assert status.stored_copies == len(expected)
        assert [
            (
                micros(copy.received_at),
                {
                    "event_time": micros(copy.event_time),
                    "action_source": copy.action_source,
                    "custom_event_name": copy.custom_event_name,
                    "custom_data": copy.custom_data.encode(),
                    "match_keys": b"".join(copy.match_keys),
                },
            )
            for copy in status.copies
        ] == [(at, said | {"match_keys": b"".join(sorted(_keys(said)))}) for at, said in expected]
        if expected:
            assert status.event is not None
            assert micros(status.event.received_at) == expected[0][0]
            assert status.event.kinds == tuple(dict.fromkeys(key[0] for _, said in expected for key in _keys(said)))
    assert select(store, "SELECT uniqExact(event_id) FROM event WHERE account_id = {a:String}", a=account_id) == [
        (len({event_id for event_id, _ in copies}),)
    ]


def _keys(said: dict[str, Any]) -> list[bytes]:
    return [said["match_keys"][start : start + 16] for start in range(0, len(said["match_keys"]), 16)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"event_time": 1}, ["event_time"]),
        ({"custom_event_name": "trial"}, ["custom_event_name"]),
        ({"custom_data": b'{"value":100,"currency":"EUR","order_id":"7","num_items":2}'}, []),
        ({"custom_data": b'{"value":80.0,"currency":"EUR","order_id":"7"}'}, ["custom_data.value"]),
        ({"custom_data": b'{"value":100.0,"currency":"USD","order_id":"7"}'}, ["custom_data.currency"]),
        ({"custom_data": b'{"value":100.0,"currency":"EUR","order_id":"8"}'}, ["custom_data.order_id"]),
        ({"custom_data": b'{"currency":"EUR"}'}, ["custom_data.value", "custom_data.order_id"]),
        ({"custom_data": b""}, ["custom_data.value", "custom_data.currency", "custom_data.order_id"]),
    ],
)
def test_which_fields_of_a_copy_differ(changes: dict[str, Any], expected: list[str]) -> None:
    first = EventContent(0, "", b'{"value":100.0,"currency":"EUR","order_id":"7"}')
    assert changed_fields(first, first._replace(**changes)) == expected


def exposure(account_id: str, received_at: int, **said: Any) -> Rows:
    values = {
        "account_id": account_id,
        "exposure_id": "auc1",
        "kind": "impression",
        "occurred_at": NOW,
        "media_buy_id": "mb",
        "package_id": "p",
        "creative_id": "",
        "match_keys": EMAIL,
        "cost": None,
        "currency": "",
        "received_at": received_at,
    }
    return Rows("exposure", {name: [value] for name, value in (values | said).items()})


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "click"},
        {"occurred_at": NOW + 1},
        {"media_buy_id": "mb2"},
        {"package_id": "p2"},
        {"creative_id": "c"},
        {"match_keys": CLICK},
        {"match_keys": EMAIL + CLICK},
        {"cost": 1},
        {"currency": "EUR"},
    ],
    ids=lambda said: "-".join(said),
)
def test_an_exposures_copy_that_differs_stays_and_its_repeat_does_not(store: EventStore, said: dict[str, Any]) -> None:
    account_id = f"account-{next(_ACCOUNTS)}"
    for number, copy in enumerate(({}, said, {}, said)):
        store.insert([exposure(account_id, NOW + number, **copy)])
    store.deriver.command("OPTIMIZE TABLE exposure FINAL")
    query = "SELECT toUnixTimestamp64Micro(received_at) AS at FROM exposure WHERE account_id = {a:String} ORDER BY at"
    assert select(store, query, a=account_id) == [(NOW,), (NOW + 1,)]


def test_a_row_from_before_copies_were_kept_stays_the_first(store: EventStore) -> None:
    said = {name: strategy.elements[0] for name, strategy in _SAID.items()}  # type: ignore[attr-defined]
    store.insert([event("template", "a", said, NOW)])
    columns = "event_source_id, event_type, event_id, event_time, received_at, action_source, quality"
    store.deriver.command(
        f"INSERT INTO event (account_id, {columns}) SELECT 'older', {columns} FROM event WHERE account_id = 'template'"
    )
    store.insert([event("older", "a", said, NOW + 1)])
    status = store.status("older", "website", "purchase", "a")
    assert status.event is not None
    assert micros(status.event.received_at) == NOW
    assert [micros(copy.received_at) for copy in status.copies] == [NOW, NOW + 1]
