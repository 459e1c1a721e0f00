"""Everybody who writes to a server at once, and what it must have of it when they have been answered."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from tests.conftest import Server
from tests.engine import select_from
from tests.faults.buyers import (
    Body,
    Buyers,
    call,
    counted_impressions,
    exposures_call,
    order_call,
    sent_events,
    sent_exposures,
    stored_events,
    stored_exposures,
    stored_rejections,
    totals_call,
)
from tests.integration.upstream import Upstream

from postback.events.event import UserMatch
from postback.events.identifiers import IdentifierHasher

__all__ = ["MixedLoad"]

_RECORDED_SECONDS = 0.9
"""A visitor who was redirected sooner than this was not redirected because recording the click took too long."""

_ACCOUNT = {"account_id": "default"}
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_PAUSE_SECONDS = 0.05
_REPLAYED = 20


class MixedLoad:
    """Buyers, ad servers, an operator's reports, visitors: each sends, and repeats what was not answered.

    Args:
        server: A sandbox that forwards the events of ``website``.
        upstream: Where it forwards them to.
    """

    def __init__(self, server: Server, upstream: Upstream) -> None:
        self._server = server
        self._upstream = upstream
        self._events = Buyers(server, "log_event", _for_one_account(call), 3)
        self._exposures = Buyers(server, "exposures", _for_one_account(exposures_call), 2)
        self._totals = Buyers(server, "delivery", _for_one_account(partial(totals_call, "an-ad-server")), 1)
        self._orders = Buyers(server, "create_media_buy", order_call, 1)
        self._accounts = Buyers(server, "sync_accounts", _accounts_call, 1)
        self._visitors = _Visitors(server)
        self._callers = (self._events, self._exposures, self._totals, self._orders, self._accounts)

    @property
    def cut_off(self) -> int:
        """How many calls lost their connection instead of being answered."""
        return sum(callers.cut_off for callers in self._callers)

    @property
    def acknowledged(self) -> int:
        """How many calls and clicks were acknowledged."""
        return sum(len(callers.acknowledged) for callers in self._callers) + len(self._visitors.recorded)

    @property
    def events(self) -> Buyers:
        """Those who send events."""
        return self._events

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send until the block is left, and then until every call that was begun is answered."""
        with ExitStack() as stack:
            stack.enter_context(self._visitors.clicking())
            for callers in self._callers:
                stack.enter_context(callers.sending())
            yield

    def check_replays(self) -> None:
        """Check that the running server answers a retry of a call as it answered the call."""
        for callers, task in (
            (self._events, "log_event"),
            (self._orders, "create_media_buy"),
            (self._accounts, "sync_accounts"),
        ):
            known = list(callers.acknowledged.values())
            for body, answer in random.sample(known, min(_REPLAYED, len(known))):
                replay = self._server.call(task, **body).raise_for_status().json()
                assert replay["replayed"], f"{task} was done again"
                for name in answer.keys() - {"ext", "replayed"}:
                    assert replay[name] == answer[name], f"a retry of {task} got another {name}"

    def everything_was_forwarded(self) -> bool:
        """Whether the system of the seller has every event that was acknowledged."""
        return sent_events(_bodies(self._events)).keys() <= self._upstream.event_ids()

    def check_stored(self) -> dict[str, int]:
        """Check the stores of the stopped server against what was acknowledged: all of it, and once.

        Returns:
            How much of each kind there is.
        """
        events, exposures = sent_events(_bodies(self._events)), sent_exposures(_bodies(self._exposures))
        self._server.command("attribute")
        _same(stored_events(self._server), events, "events")
        assert stored_rejections(self._server) == {f"{key}-broken" for key in self._events.acknowledged}
        counted = select_from(self._server.data, "SELECT sum(accepted), sum(rejected) FROM source_activity")
        assert counted == [(len(events), len(self._events.acknowledged))]
        self._check_exposures(exposures)
        self._check_totals()
        self._check_control()
        self._check_forwarded(events.keys())
        kinds = (self._totals, self._orders, self._accounts)
        return {"events": len(events), "exposures": len(exposures), "clicks": len(self._visitors.recorded)} | {
            name: len(callers.acknowledged) for name, callers in zip(("totals", "buys", "accounts"), kinds, strict=True)
        }

    def _check_exposures(self, sent: dict[str, tuple[Any, ...]]) -> None:
        stored = stored_exposures(self._server)
        clicks = {exposure_id for exposure_id in stored if exposure_id.startswith("click:")}
        _same({id_: row for id_, row in stored.items() if id_ not in clicks}, sent, "exposures")
        impressions, spend = counted_impressions(self._server)
        assert (impressions, spend) == (len(sent), sum(cost for _, cost, _ in sent.values()))
        hasher = IdentifierHasher(bytes.fromhex((self._server.data / "secret.key").read_text()))
        rows = select_from(self._server.data, "SELECT match_keys FROM exposure FINAL WHERE kind = 'click'")
        kept = {bytes(keys[0]) for (keys,) in rows}
        recorded = {hasher.match(UserMatch(click_id=click_id), []) for click_id in self._visitors.recorded}
        assert recorded <= kept, "a click is lost"
        assert len(clicks) <= self._visitors.clicks, "a click is there twice"

    def _check_totals(self) -> None:
        columns = "media_buy_id, hour, impressions, clicks, spend"
        rows = select_from(self._server.data, f"SELECT {columns} FROM delivery_total FINAL")
        sent = [total for body in _bodies(self._totals) for total in body["totals"]]
        names = ("impressions", "clicks")
        assert sorted(rows) == sorted(
            (
                total["media_buy_id"],
                datetime.fromisoformat(total["hour"]),
                *(total[name] for name in names),
                Decimal(str(total["spend"])),
            )
            for total in sent
        )

    def _check_control(self) -> None:
        with closing(sqlite3.connect(self._server.data / "control.db")) as control:
            bought = [id_ for (id_,) in control.execute("SELECT media_buy_id FROM media_buy")]
            domains = [domain for (domain,) in control.execute("SELECT brand_domain FROM account")]
            assert control.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        acknowledged = self._orders.acknowledged.values()
        assert sorted(bought) == sorted(
            [self._visitors.media_buy_id, *(answer["media_buy_id"] for _, answer in acknowledged)]
        )
        wanted = [body["accounts"][0]["brand"]["domain"] for body in _bodies(self._accounts)]
        assert sorted(domain for domain in domains if domain and domain.startswith("brand-")) == sorted(wanted)

    def _check_forwarded(self, events: Any) -> None:
        deliveries: dict[str, set[str]] = {}
        for request in self._upstream.requests:
            for event in request["body"]["events"]:
                deliveries.setdefault(event["event_id"], set()).add(request["body"]["idempotency_key"])
        assert deliveries.keys() == events
        assert all(len(keys) == 1 for keys in deliveries.values()), "an event was forwarded as two deliveries"


class _Visitors:
    """People who click on an ad, one after the other, each at an address of their own.

    Attributes:
        recorded: The click ids of the clicks that were recorded, as far as a visitor can know.
        clicks: How many clicks there were.
        media_buy_id: What was bought for them to click on.
    """

    def __init__(self, server: Server) -> None:
        self.recorded: list[str] = []
        self.clicks = 0
        self.media_buy_id = ""
        self._server = server
        self._stopping = threading.Event()

    @contextmanager
    def clicking(self) -> Iterator[None]:
        order = order_call(0) | {"idempotency_key": "order-of-the-visitors"}
        buy = self._server.call("create_media_buy", **order).raise_for_status().json()
        self.media_buy_id = buy["media_buy_id"]
        package = {"media_buy_id": buy["media_buy_id"], "package_id": buy["packages"][0]["package_id"]}
        named = package | {"account": _ACCOUNT}
        link = self._server.call("click-links", **named, destination="https://shop.example/").json()["url"]
        visitor = threading.Thread(target=self._click, args=(urlsplit(link).path,))
        visitor.start()
        try:
            yield
        finally:
            self._stopping.set()
            visitor.join()

    def _click(self, path: str) -> None:
        while not self._stopping.is_set():
            begun = time.monotonic()
            self.clicks += 1
            try:
                with self._server.client(**_visitor(self.clicks)) as client:
                    response = client.get(path, follow_redirects=False)
            except httpx2.TransportError:
                time.sleep(_PAUSE_SECONDS)
                continue
            if time.monotonic() - begun < _RECORDED_SECONDS:
                [click_id] = parse_qs(urlsplit(response.headers["location"]).query)["pb_click_id"]
                self.recorded.append(click_id)
            time.sleep(_PAUSE_SECONDS)


def _visitor(number: int) -> dict[str, str]:
    """The headers of a visitor, whose address a proxy tells."""
    return {"User-Agent": _BROWSER, "X-Forwarded-For": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}


def _for_one_account(arguments: Callable[[int], Body]) -> Callable[[int], Body]:
    """The same calls for the account that was there from the beginning, once there are others."""
    return lambda number: arguments(number) | {"account": _ACCOUNT}


def _accounts_call(number: int) -> Body:
    wanted = {"brand": {"domain": f"brand-{number}.example"}, "operator": "agency.example", "billing": "operator"}
    return {"idempotency_key": f"account-of-an-agency-{number:06}", "accounts": [wanted | {"sandbox": True}]}


def _same(stored: dict[str, Any], sent: dict[str, Any], what: str) -> None:
    """Check that both have the same keys and values; says of how many it isn't so."""
    lost, unsent = sent.keys() - stored.keys(), stored.keys() - sent.keys()
    altered = [key for key in sent.keys() & stored.keys() if sent[key] != stored[key]]
    told = f"{what}: {len(sent)} sent, {len(lost)} lost, {len(unsent)} unknown, {len(altered)} altered"
    assert not any((lost, unsent, altered)), (told, *map(sorted, (lost, unsent, altered)))


def _bodies(callers: Buyers) -> list[Body]:
    return [body for body, _ in callers.acknowledged.values()]
