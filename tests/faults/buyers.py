"""Buyers and ad servers who send until they are answered, and what the store holds of it afterwards."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2
from tests.conftest import Server, eventually
from tests.engine import select_from

EVENTS = 40
"""Good events in a call; a broken one follows them."""

_RETRY_SECONDS = 0.05
_FIRST_HOUR = datetime(2026, 1, 1, tzinfo=UTC)

Answer = dict[str, Any]
Body = dict[str, Any]


def call(number: int) -> Body:
    """The arguments of one log_event call; the same number gives the same events."""
    key = f"batch-of-a-buyer-{number:06}"
    happened = datetime.now(UTC).replace(microsecond=0).isoformat()
    events = [
        {
            "event_id": f"{key}-{n}",
            "event_type": "purchase",
            "event_time": happened,
            "action_source": "website",
            "event_source_url": f"https://shop.example/thanks/{number}",
            "user_match": {"hashed_email": f"{number * EVENTS + n:032x}"[::-1] * 2, "click_id": f"click.{number}.{n}"},
            "custom_data": {"value": n + 0.25, "currency": "EUR", "order_id": f"order {number} {n}", "tier": "gold"},
        }
        for n in range(EVENTS)
    ]
    broken = {"event_id": f"{key}-broken", "event_type": "purchase", "event_time": "yesterday"}
    return {"event_source_id": "website", "idempotency_key": key, "events": [*events, broken]}


def exposures_call(number: int) -> Body:
    """The arguments of one call that reports exposures, of which neighbouring calls repeat some."""
    key = f"batch-of-an-ad-server-{number:06}"
    exposures = [
        {
            "exposure_id": f"imp-{n}",
            "kind": "impression",
            "occurred_at": "2026-01-15T14:30:00Z",
            "media_buy_id": "mb_killed",
            "package_id": "p_1",
            "user_match": {"hashed_email": f"{n:032x}"[::-1] * 2},
            "cost": n / 1000,
            "currency": "USD",
        }
        for n in range(number * EVENTS, number * EVENTS + EVENTS * 5 // 4)
    ]
    return {"idempotency_key": key, "exposures": [*exposures, {"exposure_id": f"{key}-broken", "kind": "hover"}]}


def order_call(number: int) -> Body:
    """The arguments of one call that buys a package."""
    package = {"product_id": "sandbox_display_auction", "pricing_option_id": "auction_cpm_usd", "budget": 5000}
    return {
        "idempotency_key": f"order-of-a-buyer-{number:06}",
        "account": {"account_id": "default"},
        "brand": {"domain": "acmeoutdoor.example"},
        "name": f"Order {number}",
        "start_time": "asap",
        "end_time": "2099-06-30T23:59:59Z",
        "packages": [package],
    }


def totals_call(reporter: str, number: int) -> Body:
    """The arguments of one delivery call, which reports the total of an hour; its key names who reports it."""
    total = {
        "media_buy_id": "mb_totals",
        "package_id": "p_1",
        "hour": (_FIRST_HOUR + timedelta(hours=number)).isoformat(),
        "impressions": 1000 + number,
        "clicks": number,
        "spend": number / 100,
        "currency": "USD",
    }
    return {"idempotency_key": f"totals-of-{reporter}-{number:06}", "totals": [total]}


class Buyers:
    """Several buyers who send one batch after the other, each until it is answered.

    Args:
        server: Where they send to.
        task: What they call.
        arguments: Makes the arguments of each call from its number; they have an idempotency_key.
        buyers: How many they are.

    Attributes:
        acknowledged: The calls that were answered with success and their answers, by idempotency key.
        refused: The statuses of the answers that asked for a retry.
        unanswered: The idempotency keys of the calls that were sent and are not answered yet.
        cut_off: How many calls were sent and lost their connection instead of being answered.
    """

    def __init__(
        self,
        server: Server,
        task: str = "log_event",
        arguments: Callable[[int], Body] = call,
        buyers: int = 6,
    ) -> None:
        self.acknowledged: dict[str, tuple[Body, Answer]] = {}
        self.refused: list[int] = []
        self.unanswered: set[str] = set()
        self.cut_off = 0
        self._server = server
        self._task = task
        self._arguments = arguments
        self._buyers = buyers
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._given_up = False
        self._counting = threading.Lock()
        self._defects: list[str] = []

    @contextmanager
    def sending(self, *, persistently: bool = True) -> Iterator[None]:
        """Send until the block is left, and then until every call that was begun is answered.

        Args:
            persistently: Whether a call is repeated until it succeeds. If not, a buyer leaves at its first failure.
        """
        buyers = [threading.Thread(target=self._buy, args=(persistently,)) for _ in range(self._buyers)]
        for buyer in buyers:
            buyer.start()
        try:
            yield
        except BaseException:
            self._given_up = True
            raise
        finally:
            self._stopping.set()
            for buyer in buyers:
                buyer.join()
        assert not self._defects, self._defects[0]

    def wait_for_answers(self, more: int) -> None:
        """Wait until this many more calls are acknowledged."""
        enough = len(self.acknowledged) + more
        eventually(lambda: len(self.acknowledged) >= enough or self._defects, f"{more} more answers", pause=0.001)

    def send_one(self) -> Answer:
        """Send one batch, which must succeed at once."""
        body = self._arguments(next(self._numbers))
        answer: Answer = self._server.call(self._task, **body).raise_for_status().json()
        self.acknowledged[body["idempotency_key"]] = body, answer
        return answer

    def _buy(self, persistently: bool) -> None:
        while not self._stopping.is_set():
            with self._server.client() as client:
                try:
                    while not self._stopping.is_set():
                        self._deliver(client, self._arguments(next(self._numbers)), persistently)
                except (httpx2.TransportError, httpx2.HTTPStatusError):
                    return

    def _deliver(self, client: httpx2.Client, body: Body, persistently: bool) -> None:
        while True:
            try:
                response = self._post(client, body)
            except httpx2.TransportError:
                if not persistently or self._given_up:
                    raise
                time.sleep(_RETRY_SECONDS)
                continue
            answer = response.json()
            if response.status_code == 200 and answer["status"] == "completed":
                self.acknowledged[body["idempotency_key"]] = body, answer
                return
            self.refused.append(response.status_code)
            if response.status_code != 503:
                self._defects.append(response.text)
                return
            if not persistently or self._given_up:
                response.raise_for_status()

    def _post(self, client: httpx2.Client, body: Body) -> httpx2.Response:
        self.unanswered.add(body["idempotency_key"])
        try:
            return client.post(f"/v1/{self._task}", json=body)
        except httpx2.ConnectError:  # it was never sent
            raise
        except httpx2.TransportError:
            with self._counting:
                self.cut_off += 1
            raise
        finally:
            self.unanswered.discard(body["idempotency_key"])


def sent_events(bodies: Iterable[Body]) -> dict[str, tuple[Any, ...]]:
    """What the store must hold of these calls' good events, by event_id."""
    return {
        event["event_id"]: (
            datetime.fromisoformat(event["event_time"]),
            event["event_source_url"],
            event["custom_data"],
            Decimal(str(event["custom_data"]["value"])),
            event["custom_data"]["currency"],
            len(event["user_match"]),
        )
        for body in bodies
        for event in body["events"][:-1]
    }


def stored_events(server: Server) -> dict[str, tuple[Any, ...]]:
    """What a stopped server's store holds, in the form of ``sent_events``; every event must be there once."""
    columns = "event_id, event_time, event_source_url, custom_data, value, currency, length(match_keys)"
    rows = select_from(server.data, f"SELECT {columns} FROM event FINAL WHERE event_source_id = 'website'")
    found = {id_: (at, url, json.loads(data), *rest) for id_, at, url, data, *rest in rows}
    assert len(found) == len(rows)
    return found


def sent_exposures(bodies: Iterable[Body]) -> dict[str, tuple[Any, ...]]:
    """What the store must hold of these calls' good exposures, by exposure_id."""
    return {
        exposure["exposure_id"]: (datetime.fromisoformat(exposure["occurred_at"]), Decimal(str(exposure["cost"])), 1)
        for body in bodies
        for exposure in body["exposures"][:-1]
    }


def stored_exposures(server: Server) -> dict[str, tuple[Any, ...]]:
    """What a stopped server's store holds, in the form of ``sent_exposures``; every exposure must be there once."""
    rows = select_from(server.data, "SELECT exposure_id, occurred_at, cost, length(match_keys) FROM exposure FINAL")
    found = {exposure_id: tuple(rest) for exposure_id, *rest in rows}
    assert len(found) == len(rows)
    return found


def counted_impressions(server: Server) -> tuple[int, Decimal]:
    """How many impressions a stopped server's reports count, and what they cost."""
    [(impressions, spend)] = select_from(server.data, "SELECT sum(impressions), sum(spend) FROM exposure_hour")
    return impressions, spend


def stored_rejections(server: Server) -> set[str]:
    """The event_ids of the rejected events that a stopped server's store holds; each must be there once."""
    rows = [event_id for (event_id,) in select_from(server.data, "SELECT event_id FROM rejected_event FINAL")]
    assert len(set(rows)) == len(rows)
    return set(rows)
