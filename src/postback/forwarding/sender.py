"""Delivers what the outbox holds: at least once, with back-off, each destination by itself."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version

import httpx2

from postback.errors import StoreUnavailable
from postback.forwarding.destination import Destination
from postback.forwarding.guard import Forbidden, GuardedTransport
from postback.forwarding.outbox import Outbox, Parcel
from postback.forwarding.packing import events_in, pack_events
from postback.forwarding.sealing import Seal, Unsealable
from postback.forwarding.sent import SentCall, SentCalls
from postback.forwarding.template import Unrenderable
from postback.metrics import Metrics

__all__ = ["MOST_ATTEMPTS", "Sender", "backoff"]

MOST_ATTEMPTS = 12
"""With waits that double up to an hour, a destination may be away for four to eight hours."""

_AT_ONCE = 4
_LONGEST_CALL = 20.0
_LONGEST_WAIT = 3600.0
_IDLE_SECONDS = 5.0
_TRANSIENT = frozenset((408, 425, 429))

_log = logging.getLogger(__name__)


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
        sent: Remembers the requests that were answered.
    """

    def __init__(self, destination: Destination, outbox: Outbox, seal: Seal, metrics: Metrics, sent: SentCalls) -> None:
        self._destination = destination
        self._outbox = outbox
        self._seal = seal
        self._metrics = metrics
        self._sent = sent
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look into the outbox now."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        destination = self._destination
        headers = {"User-Agent": f"postback/{version('postback')}", **destination.headers}
        async with httpx2.AsyncClient(
            transport=GuardedTransport(allow_private=destination.allow_private),
            timeout=httpx2.Timeout(_LONGEST_CALL, connect=5),
            headers=headers,
            follow_redirects=False,
            trust_env=False,
        ) as client:
            while True:
                self._woken.clear()
                wait: float | None = _IDLE_SECONDS
                try:
                    await self.deliver(client)
                    wait = await asyncio.to_thread(self._outbox.next_attempt, destination.name)
                except StoreUnavailable:
                    _log.warning("the outbox of %s can't be used; trying again", destination.name)
                except Exception:
                    _log.exception("forwarding to %s failed; trying again", destination.name)
                # Another process may make a parcel due meanwhile, as 'postback forwards replay' does.
                longest = _IDLE_SECONDS if wait is None else min(wait + 0.01, _IDLE_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), longest)

    async def deliver(self, client: httpx2.AsyncClient) -> None:
        """Try each parcel that is due.

        Raises:
            StoreUnavailable: The outbox doesn't answer; what was sent is sent again.
        """
        while parcels := await asyncio.to_thread(self._outbox.due, self._destination.name, _AT_ONCE):
            failures = await asyncio.gather(*(self._attempt(client, parcel) for parcel in parcels))
            await asyncio.to_thread(self._note, parcels, failures)

    async def _attempt(self, client: httpx2.AsyncClient, parcel: Parcel) -> _Failed | None:
        """Send a parcel once; returns what went wrong."""
        try:
            request = await asyncio.to_thread(self._request, parcel)
            if request is not None:
                await self._post(client, parcel, request)
                self._metrics.forwarded(parcel.destination, "delivered", parcel.events)
        except _Failed as failure:
            return failure
        except Exception as error:
            # Whatever it was, a parcel must not be tried without end and without a pause.
            _log.exception("parcel %s could not be sent to %s", parcel.parcel_id, parcel.destination)
            return _Failed(f"it failed here ({type(error).__name__})", backoff(parcel.attempts))
        return None

    def _request(self, parcel: Parcel) -> bytes | None:
        """The body to post; None when the parcel was replaced by others."""
        try:
            request = self._seal.open(parcel.sealed, parcel.parcel_id)
        except Unsealable:
            raise _Failed("it was sealed with another secret", None) from None
        template = self._destination.template
        if template is None:
            return request
        events = events_in(request)
        if len(events) != 1:  # it waited in AdCP's shape when the template came
            self._outbox.replace(parcel, pack_events(self._seal, self._destination, parcel.key_id, events))
            return None
        try:
            return template.body(bytes(events[0]), parcel.event_source_id, parcel.account_id)
        except Unrenderable as error:
            raise _Failed(f"the template makes no JSON of the event ({error})", None) from None

    async def _post(self, client: httpx2.AsyncClient, parcel: Parcel, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "Idempotency-Key": parcel.parcel_id}
        url, at = self._destination.url, datetime.now(UTC)
        try:
            # The status says all; a body may be endless, so it isn't read.
            async with (
                asyncio.timeout(_LONGEST_CALL),
                client.stream("POST", url, content=body, headers=headers) as response,
            ):
                status = response.status_code
                self._sent.add(SentCall(parcel.key_id, url, body, status, at))
        except Forbidden:
            raise _Failed("its address is private; allow_private would permit it", None) from None
        except (httpx2.HTTPError, TimeoutError) as error:
            raise _Failed(f"no answer ({type(error).__name__})", backoff(parcel.attempts)) from None
        if not response.is_success:
            raise _Failed(f"it answered {status}", _wait(status, response.headers, parcel.attempts))

    def _note(self, parcels: Sequence[Parcel], failures: Sequence[_Failed | None]) -> None:
        """Write down what came of a round."""
        self._outbox.delivered(parcel for parcel, failure in zip(parcels, failures, strict=True) if not failure)
        for parcel, failure in zip(parcels, failures, strict=True):
            if failure:
                wait = failure.wait if parcel.attempts + 1 < MOST_ATTEMPTS else None
                outcome, level = ("dead", logging.WARNING) if wait is None else ("failed", logging.INFO)
                self._outbox.failed(parcel, failure.error, wait)
                self._metrics.forwarded(parcel.destination, outcome, parcel.events)
                _log.log(level, "%s did not take parcel %s: %s", parcel.destination, parcel.parcel_id, failure.error)


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
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, min(seconds, _LONGEST_WAIT))
