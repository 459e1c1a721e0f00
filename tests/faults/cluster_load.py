"""Everybody who calls a cluster at once: each call goes to the next server, until one has answered it."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256

from tests.conftest import eventually
from tests.faults.buyers import Answer, Body, order_call, totals_call
from tests.faults.cluster import SOURCE_ID, Campaign, Cluster
from tests.faults.senders import Sender, Unanswered, by_a2a, by_mcp, by_rest

__all__ = ["IN_A_CALL", "Caller", "ClusterLoad"]

IN_A_CALL = 5
"""Purchases in a call; the last comes again in the next."""

_PEOPLE = 300
_PAUSE_SECONDS = 0.3
_RETRY_SECONDS = 0.1


class Caller:
    """Makes one call after the other, each until it is answered.

    Args:
        load: Whose servers are called.
        campaign: For whom.
        task: What is called.
        arguments: Makes the arguments of each call from its number.
        by: How it is called.
        repeats: Whether a call that isn't answered is made again.
        at_once: To how many servers a call goes at once.

    Attributes:
        sent: The arguments of every call that was made.
        acknowledged: Those that were answered with success, and the answers.
    """

    def __init__(
        self,
        load: ClusterLoad,
        campaign: Campaign,
        task: str,
        arguments: Callable[[int], Body],
        *,
        by: Sender = by_rest,
        repeats: bool = True,
        at_once: int = 1,
    ) -> None:
        self.campaign = campaign
        self.task = task
        self.sent: list[Body] = []
        self.acknowledged: list[tuple[Body, list[Answer]]] = []
        self._load = load
        self._arguments = arguments
        self._by = by
        self._repeats = repeats
        self._at_once = at_once

    def work(self) -> None:
        """Call until the load stops."""
        try:
            self._call_until_it_stops()
        except Exception as error:  # of a client: it ends the try, and not a thread that nobody looks at
            self._load.defects.append(f"{self.task}: {error!r}")
            raise

    def _call_until_it_stops(self) -> None:
        with ThreadPoolExecutor(self._at_once) as pool:
            for number in itertools.count():
                if self._load.stopping.is_set():
                    return
                body = self._arguments(number)
                self.sent.append(body)
                turn = self._load.next_turn()
                answers = list(pool.map(partial(self._deliver, body), range(turn, turn + self._at_once)))
                if all(answers):
                    self.acknowledged.append((body, answers))
                time.sleep(_PAUSE_SECONDS)

    def _deliver(self, body: Body, turn: int) -> Answer:
        """The answer of success; an empty one if there is none, and the call isn't made again."""
        while not self._load.given_up:
            answer = self._load.call(self._by, turn, self.campaign, self.task, body)
            if answer.get("status") == "completed" and not answer.get("partial_failures"):
                return answer
            if answer and answer.get("adcp_error", {}).get("code") != "SERVICE_UNAVAILABLE":
                self._load.defects.append(f"{self.task}: {answer}")
                return {}
            if not self._repeats:
                return {}
            time.sleep(_RETRY_SECONDS)
            turn += 1
        return {}


class ClusterLoad:
    """Buyers who log events, with keys and without, and order; ad servers that report exposures and totals.

    Attributes:
        events: The callers who log events, those last who don't repeat a call that wasn't answered.
        exposures: Those who report exposures.
        totals: Those who report totals.
        orders: Those who order, each time on several servers at once.
        unanswered: How many calls got no answer.
        pending: How many calls a server is to answer, by its URL.
        answered: How many it has answered.
        defects: Answers that no caller may get.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.stopping = threading.Event()
        self.given_up = False
        self.unanswered = 0
        self.pending: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.defects: list[str] = []
        self._cluster = cluster
        self._turns = itertools.count()
        self._counting = threading.Lock()
        self.events: list[Caller] = []
        self.exposures: list[Caller] = []
        self.totals: list[Caller] = []
        for campaign, official in zip(cluster.campaigns, (by_mcp, by_a2a), strict=True):
            for name, keyed, by, repeats in (
                ("keyed", True, by_rest, True),
                ("official", True, official, True),
                ("keyless", False, by_rest, True),
                ("once", False, by_rest, False),
            ):
                arguments = partial(_events_call, f"{campaign.account_id}-{name}", campaign, keyed)
                self.events.append(Caller(self, campaign, "log_event", arguments, by=by, repeats=repeats))
            self.exposures.append(Caller(self, campaign, "exposures", partial(_exposures_call, campaign)))
            self.totals.append(Caller(self, campaign, "delivery", partial(totals_call, campaign.account_id)))
        self.orders = [Caller(self, cluster.campaigns[0], "create_media_buy", order_call, at_once=3)]

    @property
    def callers(self) -> Sequence[Caller]:
        """All of them."""
        return (*self.events, *self.exposures, *self.totals, *self.orders)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Call until the block is left, and then until what must be answered is."""
        threads = [threading.Thread(target=caller.work) for caller in self.callers]
        for thread in threads:
            thread.start()
        try:
            yield
        except BaseException:
            self.given_up = True
            raise
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join()
        assert not self.defects, self.defects[0]

    def wait_for_answers(self, more: int) -> None:
        """Wait until this many more calls are answered."""
        enough = self.answered.total() + more
        eventually(lambda: self.answered.total() >= enough or self.defects, f"{more} more answers")
        assert not self.defects, self.defects[0]

    def next_turn(self) -> int:
        """Which server's turn it is."""
        return next(self._turns)

    def call(self, by: Sender, turn: int, campaign: Campaign, task: str, body: Body) -> Answer:
        """Call the server whose turn it is; an empty answer is none."""
        servers = self._cluster.servers
        server = servers[turn % len(servers)]
        with self._counting:
            self.pending[server.url] += 1
        try:
            answer = by(replace(server, key=campaign.key), task, body)
        except Unanswered:
            answer = {}
        with self._counting:
            self.pending[server.url] -= 1
            self.answered[server.url] += bool(answer)
            self.unanswered += not answer
        return answer


_FIRST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def _person(campaign: Campaign, number: int) -> dict[str, str]:
    return {"hashed_email": sha256(f"{campaign.account_id} {number % _PEOPLE}".encode()).hexdigest()}


def _event(campaign: Campaign, event_type: str, event_id: str, number: int, value: float) -> Body:
    return {
        "event_id": event_id,
        "event_type": event_type,
        "event_time": (_FIRST + timedelta(seconds=number % 1800)).isoformat(),
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user_match": _person(campaign, number),
        "custom_data": {"value": value, "currency": "USD"},
    }


def _events_call(name: str, campaign: Campaign, keyed: bool, number: int) -> Body:
    first = number * (IN_A_CALL - 1)
    purchases = [_event(campaign, "purchase", f"{name}-{n}", n, n % 50 + 0.25) for n in range(first, first + IN_A_CALL)]
    refunds = [_event(campaign, "refund", f"{name}-{first}", first, 0.25)] if number % 3 == 0 else []
    key = {"idempotency_key": f"events-{name}-{number:06}"} if keyed else {}
    return {"event_source_id": SOURCE_ID, "events": [*purchases, *refunds]} | key


def _exposures_call(campaign: Campaign, number: int) -> Body:
    shown = [
        {
            "exposure_id": f"{campaign.account_id}-{n}",
            "kind": "impression" if n % 3 == 0 else "click",
            "occurred_at": (_FIRST - timedelta(seconds=1 + n % 1800)).isoformat(),
            "media_buy_id": campaign.media_buy_id,
            "package_id": campaign.package_id,
            "user_match": _person(campaign, n),
            "cost": n % 100 / 1000,
            "currency": "USD",
        }
        for n in range(number * 2, number * 2 + 3)
    ]
    return {"idempotency_key": f"exposures-{campaign.account_id}-{number:06}", "exposures": shown}
