"""Delivers what the outbox holds: at least once, with back-off, each destination by itself."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version

import httpx2
import msgspec

from postback.errors import StoreUnavailable
from postback.forwarding.destination import Destination
from postback.forwarding.guard import Forbidden, GuardedTransport
from postback.forwarding.outbox import Outbox, Parcel
from postback.forwarding.payload import Unrenderable, adcp_body
from postback.forwarding.sealing import Seal, Unsealable
from postback.metrics import Metrics

__all__ = ["MOST_ATTEMPTS", "Sender", "SentCall", "backoff"]

MOST_ATTEMPTS = 12
"""With waits that double up to an hour, a destination may be away for four to eight hours."""

_AT_ONCE = 4
_TIMEOUT = httpx2.Timeout(20, connect=5)
_LONGEST_WAIT = 3600.0
_IDLE_SECONDS = 5.0
_TRANSIENT = frozenset((408, 425, 429))
_KEPT_CALLS = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SentCall:
    """A request that was sent.

    Attributes:
        account_id: Whose events it carried.
        url: Where it went.
        body: What it carried.
        status: The HTTP status that came back, or None when nothing did.
        at: When it was sent, UTC.
    """

    account_id: str
    url: str
    body: bytes
    status: int | None
    at: datetime


class _Failed(Exception):
    """An attempt that failed: why, and when the next one may be; ``wait`` None gives up."""

    def __init__(self, error: str, wait: float | None) -> None:
        super().__init__(error)
        self.error = error
        self.wait = wait


class Sender:
    """Delivers to one destination.

    Args:
        destination: The destination.
        outbox: What is delivered.
        seal: Opens the parcels.
        metrics: Counts.
        record: Whether to remember the requests, as a sandbox does.
    """

    def __init__(
        self, destination: Destination, outbox: Outbox, seal: Seal, metrics: Metrics, *, record: bool = False
    ) -> None:
        self.destination = destination
        self.sent: deque[SentCall] = deque(maxlen=_KEPT_CALLS if record else 0)
        self._outbox = outbox
        self._seal = seal
        self._metrics = metrics
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look into the outbox now."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        transport = GuardedTransport(allow_private=self.destination.allow_private)
        headers = {"User-Agent": f"postback/{version('postback')}", **self.destination.headers}
        async with httpx2.AsyncClient(
            transport=transport, timeout=_TIMEOUT, headers=headers, follow_redirects=False, trust_env=False
        ) as client:
            while True:
                self._woken.clear()
                try:
                    await self._deliver_due(client)
                    wait = await asyncio.to_thread(self._outbox.next_attempt, self.destination.name)
                except StoreUnavailable:
                    _log.warning("the outbox of %s can't be read; trying again", self.destination.name)
                    wait = _IDLE_SECONDS
                except Exception:
                    _log.exception("forwarding to %s failed; trying again", self.destination.name)
                    wait = _IDLE_SECONDS
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), _IDLE_SECONDS if wait is None else min(wait, 60) + 0.01)

    async def _deliver_due(self, client: httpx2.AsyncClient) -> None:
        while parcels := await asyncio.to_thread(self._outbox.due, self.destination.name, _AT_ONCE):
            await asyncio.gather(*(self._deliver(client, parcel) for parcel in parcels))

    async def _deliver(self, client: httpx2.AsyncClient, parcel: Parcel) -> None:
        sent = parcel.sent
        try:
            for key, body, events in self._bodies(parcel):
                await self._post(client, parcel, key, body)
                self._metrics.forwarded(self.destination.name, "delivered", events)
                sent += events
        except _Failed as failure:
            wait = failure.wait if parcel.attempts + 1 < MOST_ATTEMPTS else None
            outcome = "dead" if wait is None else "failed"
            self._metrics.forwarded(self.destination.name, outcome, parcel.events - sent)
            _log.warning("%s did not take parcel %s: %s", self.destination.name, parcel.parcel_id, failure.error)
            await asyncio.to_thread(self._outbox.failed, parcel, failure.error, wait, sent)
        else:
            await asyncio.to_thread(self._outbox.delivered, parcel)

    def _bodies(self, parcel: Parcel) -> Iterator[tuple[str, bytes, int]]:
        """What is left to post of a parcel: an idempotency key, a body and the number of its events."""
        try:
            plain = self._seal.open(parcel.sealed, parcel.parcel_id)
        except Unsealable:
            raise _Failed("it was sealed with another secret", None) from None
        events = msgspec.json.decode(plain, type=list[msgspec.Raw])
        template, source, account = self.destination.template, parcel.event_source_id, parcel.account_id
        if template is None:
            yield parcel.parcel_id, adcp_body(events, source, account, parcel.parcel_id), len(events)
            return
        for index, event in enumerate(events[parcel.sent :], parcel.sent):
            try:
                yield f"{parcel.parcel_id}-{index}", template.body(bytes(event), source, account), 1
            except Unrenderable:
                raise _Failed(f"the template makes no JSON of event {index}", None) from None

    async def _post(self, client: httpx2.AsyncClient, parcel: Parcel, key: str, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        status: int | None = None
        at = datetime.now(UTC)
        try:
            response = await client.post(self.destination.url, content=body, headers=headers)
            status = response.status_code
        except Forbidden:
            raise _Failed("its address is private; allow_private would permit it", None) from None
        except httpx2.HTTPError as error:
            raise _Failed(f"no answer ({type(error).__name__})", backoff(parcel.attempts)) from None
        finally:
            self.sent.append(SentCall(parcel.account_id, self.destination.url, body, status, at))
        if not response.is_success:
            raise _Failed(f"it answered {status}", _wait(status, response.headers, parcel.attempts))


def _wait(status: int, headers: Mapping[str, str], attempts: int) -> float | None:
    """Seconds until the next attempt after this answer; None: there is none."""
    if status < 500 and status not in _TRANSIENT:
        return None
    return max(backoff(attempts), _retry_after(headers.get("retry-after", "")))


def backoff(attempts: int) -> float:
    """Seconds to wait after so many attempts: doubling from two, at most an hour, by chance down to half of it."""
    longest = min(_LONGEST_WAIT, 2.0 ** (attempts + 1))
    return random.uniform(longest / 2, longest)  # noqa: S311 - to spread load, not to be secret


def _retry_after(text: str) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3), at most an hour; 0 when it can't be read."""
    try:
        seconds = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError):
        return 0.0
    return max(0.0, min(seconds, _LONGEST_WAIT))
