"""What a cluster must have once all is let go: what was acknowledged, once, and what follows from it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped] # its stubs are a package of their own
import pytest
from sqlalchemy import select as select_rows
from tests.acceptance.test_closed_loop import delivery
from tests.conftest import HTTP, Server, eventually
from tests.engine import select
from tests.faults.buyers import Body
from tests.faults.cluster import Campaign, Cluster
from tests.faults.cluster_load import Caller, ClusterLoad
from tests.faults.kills import waiting_in_log
from tests.integration.derived import Derivation, derived, derived_by_reference
from tests.integration.upstream import Upstream

from postback.forwarding.outbox import Outbox
from postback.media_buys.store import MediaBuyStore
from postback.moving.account_move import MOVED_TABLES
from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore
from postback.store.nodes import list_nodes
from postback.store.tables import media_buy

__all__ = ["check_cluster"]

_Facts = dict[Any, tuple[Any, ...]]

_OF_ACCOUNT = "account_id = {account_id:String}"


def check_cluster(cluster: Cluster, load: ClusterLoad, receiver: Upstream, scratch: Path) -> dict[str, int]:
    """Wait until all has arrived, stop the servers, and compare what there is with what was acknowledged.

    Returns:
        How much of each kind was acknowledged, and is there once.

    Raises:
        AssertionError: Something was lost, is there twice, or is counted otherwise than the references count it.
    """
    with closing(ControlStore(cluster.control)) as control:
        _settle(cluster, control)
        for campaign in cluster.campaigns:
            with closing(EventStore.open(cluster.events[cluster.places[campaign.account_id]], scratch)) as events:
                packages = MediaBuyStore(control).goals(campaign.account_id)
                expected = derived_by_reference(events, campaign.account_id, packages)
                _wait_for(partial(derived, events, campaign.account_id), expected)
                for server in cluster.servers:
                    _check_report(replace(server, key=campaign.key), campaign, expected)
        for server in cluster.servers:
            server.stop()
        assert all(node.stored_through is None for node in list_nodes(control)), "a server stopped without taking leave"
        found = Counter[str]()
        for campaign in cluster.campaigns:
            with closing(EventStore.open(cluster.events[cluster.places[campaign.account_id]], scratch)) as events:
                found.update(_check_facts(events, campaign, load))
            _check_left(cluster, campaign, scratch)
        found["media buys"] = _check_orders(control, cluster, load)
    found.update(_check_forwarded(load, receiver))
    return dict(found)


def _settle(cluster: Cluster, control: ControlStore) -> None:
    for server in cluster.servers:
        eventually(partial(_is_well, server), f"that {server.url} is well and has stored its log", 0.5)
    eventually(lambda: not Outbox(control).listed(), "the forwarding of every event", 0.5)


def _is_well(server: Server) -> bool:
    return not waiting_in_log(server.data) and "warning" not in HTTP.get(f"{server.url}/readyz").json()


def _wait_for(look: Callable[[], Derivation], expected: Derivation) -> None:
    try:
        eventually(lambda: look() == expected, "attribution of all that is stored", 1)
    except pytest.fail.Exception:
        differing = look().differs_in(expected)
        assert not any(differing.values()), f"attribution isn't what the reference derives: {differing}"


def _check_report(server: Server, campaign: Campaign, expected: Derivation) -> None:
    """Check that a server reports what the reference counts."""
    hours = [hour for key, hour in expected.exposure_hours.items() if key[0] == campaign.media_buy_id]
    counted = [hour for key, hour in expected.conversion_hours.items() if key[0] == campaign.media_buy_id]
    wanted = {
        "impressions": sum(hour[0] for hour in hours),
        "clicks": sum(hour[1] for hour in hours),
        "spend": float(sum(hour[2] for hour in hours)),
        "conversions": sum(hour[0] for hour in counted),
        "conversion_value": float(sum(hour[1] for hour in counted)),
    }

    def reported() -> dict[str, Any]:
        totals = delivery(server, campaign.media_buy_id)["totals"]
        return {name: totals[name] for name in wanted}

    eventually(lambda: reported() == wanted, f"a report of {wanted}, not {reported()},", 0.5)


def _check_facts(events: EventStore, campaign: Campaign, load: ClusterLoad) -> dict[str, int]:
    rows = partial(_rows, events, campaign)
    kept = rows("event_type, event_id", "event_time, value, currency, length(match_keys)", "event")
    shown = rows("exposure_id", "occurred_at, cost, length(match_keys)", "exposure")
    totals = rows("media_buy_id, hour", "impressions, clicks, spend", "delivery_total")
    sent, known = _facts(load.events, campaign, _events)
    _check("events", kept, sent, known)
    _check("exposures", shown, *_facts(load.exposures, campaign, _exposures))
    _check("totals", totals, *_facts(load.totals, campaign, _totals))
    _check_counts(events, campaign, load, kept)
    _check_received(events, campaign)
    return {
        "events": len(known),
        "events of calls without an answer": len(kept.keys() - known.keys()),
        "exposures": len(shown),
        "totals": len(totals),
    }


def _check_received(events: EventStore, campaign: Campaign) -> None:
    """Check that each receipt is there once, and is counted once in the activity of its source."""
    parts = (
        "SELECT count(), uniqExact(received_at, event_source_id, event_type, event_id) "
        f"FROM receipt WHERE outcome != 'rejected' AND {_OF_ACCOUNT}",
        f"SELECT sum(accepted), sum(accepted) FROM source_activity WHERE {_OF_ACCOUNT}",
    )
    [receipts], [activity] = (select(events, part, account_id=campaign.account_id) for part in parts)
    assert len({*receipts, *activity}) == 1, f"receipts, different ones; their activity: {receipts, activity}"


def _check_left(cluster: Cluster, campaign: Campaign, scratch: Path) -> None:
    """Check that an account has rows on its own shard only, also when it has moved."""
    counts = (f"SELECT '{table.name}', count() AS rows FROM {table.name} WHERE {_OF_ACCOUNT}" for table in MOVED_TABLES)
    query = f"SELECT * FROM ({' UNION ALL '.join(counts)}) WHERE rows > 0"
    for shard, url in enumerate(cluster.events):
        if shard != cluster.places[campaign.account_id]:
            with closing(EventStore.open(url, scratch)) as events:
                left = select(events, query, account_id=campaign.account_id)
            assert not left, f"{campaign.account_id} has rows on another shard than its own: {left}"


def _rows(events: EventStore, campaign: Campaign, key: str, columns: str, table: str) -> _Facts:
    """The rows of a table by their key, each of which must be there once."""
    query = f"SELECT ({key}), {columns} FROM {table} FINAL WHERE {_OF_ACCOUNT}"
    rows = select(events, query, account_id=campaign.account_id)
    found = {first: tuple(rest) for first, *rest in rows}
    assert len(found) == len(rows), f"{len(rows) - len(found)} rows of {table} are there twice"
    return found


def _check(what: str, stored: _Facts, sent: _Facts, acknowledged: _Facts) -> None:
    lost = acknowledged.keys() - stored.keys()
    unknown = stored.keys() - sent.keys()
    altered = [key for key in stored.keys() & sent.keys() if stored[key] != sent[key]]
    told = f"{what}: of {len(acknowledged)} {len(lost)} are lost, {len(unknown)} unknown, {len(altered)} altered"
    assert not any((lost, unknown, altered)), (told, sorted(lost)[:9], sorted(unknown)[:9], sorted(altered)[:9])


def _facts(
    callers: Iterable[Caller], campaign: Campaign, read: Callable[[Body], Iterator[tuple[Any, ...]]]
) -> tuple[_Facts, _Facts]:
    """What callers of a campaign sent, and what of it was acknowledged, as rows by their keys."""
    of_campaign = [caller for caller in callers if caller.campaign == campaign]
    sent = {key: row for caller in of_campaign for body in caller.sent for key, *row in read(body)}
    known = {key for caller in of_campaign for body, _ in caller.acknowledged for key, *_ in read(body)}
    rows = {key: tuple(row) for key, row in sent.items()}
    return rows, {key: rows[key] for key in known}


def _events(body: Body) -> Iterator[tuple[Any, ...]]:
    for event in body["events"]:
        data = event["custom_data"]
        happened = datetime.fromisoformat(event["event_time"])
        key = (event["event_type"], event["event_id"])
        yield key, happened, Decimal(str(data["value"])), data["currency"], len(event["user_match"])


def _exposures(body: Body) -> Iterator[tuple[Any, ...]]:
    for shown in body["exposures"]:
        happened = datetime.fromisoformat(shown["occurred_at"])
        yield shown["exposure_id"], happened, Decimal(str(shown["cost"])), len(shown["user_match"])


def _totals(body: Body) -> Iterator[tuple[Any, ...]]:
    for total in body["totals"]:
        key = (total["media_buy_id"], datetime.fromisoformat(total["hour"]))
        yield key, total["impressions"], total["clicks"], Decimal(str(total["spend"]))


def _check_counts(events: EventStore, campaign: Campaign, load: ClusterLoad, kept: _Facts) -> None:
    """Check what is counted against what pandas counts of the calls, which knows people and no match keys."""
    logged = [
        {"person": event["user_match"]["hashed_email"], "type": event["event_type"], "id": event["event_id"]}
        | event["custom_data"]
        for caller in load.events
        for body in caller.sent
        for event in body["events"]
        if (event["event_type"], event["event_id"]) in kept
    ]
    shown = [exposure for caller in load.exposures for body in caller.sent for exposure in body["exposures"]]
    seen = pd.DataFrame([exposure["user_match"] for exposure in shown])["hashed_email"]
    frame = pd.DataFrame(logged).drop_duplicates(["type", "id"])
    matched = frame[frame["person"].isin(seen)]  # everything was shown within the windows of everything that followed
    purchases, refunds = (matched[matched["type"] == name] for name in ("purchase", "refund"))
    query = "SELECT sum(conversions), sum(value) FROM conversion_hour WHERE media_buy_id = {media_buy_id:String}"
    [(conversions, value)] = select(events, query, media_buy_id=campaign.media_buy_id)
    assert (conversions, float(value)) == (len(purchases), purchases["value"].sum() - refunds["value"].sum())


def _check_orders(control: ControlStore, cluster: Cluster, load: ClusterLoad) -> int:
    """Check that each order is there once, and that every server that it went to answered with the same."""
    with control.connect() as connection:
        bought = sorted(connection.scalars(select_rows(media_buy.c.media_buy_id)))
    answered = [
        {answer["media_buy_id"] for answer in answers} for caller in load.orders for _, answers in caller.acknowledged
    ]
    assert all(len(ids) == 1 for ids in answered), "an order was done twice"
    ids = [media_buy_id for ids in answered for media_buy_id in ids]
    assert bought == sorted([*ids, *(campaign.media_buy_id for campaign in cluster.campaigns)])
    return len(ids)


def _check_forwarded(load: ClusterLoad, receiver: Upstream) -> dict[str, int]:
    """Check that each call's events were forwarded, under one key; requests that came again are counted."""
    forwarded = [caller for caller in load.events if caller.campaign.account_id == "default"]
    keys = defaultdict[tuple[str, ...], set[str]](set)
    for request in receiver.requests:
        keys[_names(request["body"])].add(request["body"]["idempotency_key"])
    sent = {_names(body) for caller in forwarded for body in caller.sent}
    known = {_names(body) for caller in forwarded for body, _ in caller.acknowledged}
    assert known <= keys.keys() <= sent, "deliveries are missing, or are of no call"
    assert all(len(each) == 1 for each in keys.values()), "events were forwarded as two deliveries"
    return {"deliveries": len(keys), "deliveries that came again": len(receiver.requests) - len(keys)}


def _names(body: Body) -> tuple[str, ...]:
    return tuple(f"{event['event_type']} {event['event_id']}" for event in body["events"])
