"""Sends the deliveries of the outbox: at least once, with back-off, each destination independently."""

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
from typing import NoReturn

import httpx2

from postback.forwarding.commands import CommandFailed, run_command
from postback.forwarding.destination import Destination
from postback.forwarding.encryption import Encryptor, Undecryptable
from postback.forwarding.outbox import MAX_WAIT_SECONDS, Delivery, Outbox
from postback.forwarding.private_networks import Forbidden, GuardedTransport
from postback.forwarding.requests import events_in, pack_events
from postback.forwarding.sent_requests import SentCall, SentCalls
from postback.forwarding.template import Unrenderable
from postback.metrics import Metrics
from postback.threads import ThreadPool

__all__ = ["MAX_ATTEMPTS", "Sender", "backoff"]

MAX_ATTEMPTS = 12
"""Waits double up to an hour, so a destination may be down for four to eight hours."""

_CONCURRENT_REQUESTS = 4
_REQUEST_TIMEOUT_SECONDS = 20.0
_IDLE_SECONDS = 5.0
_TRANSIENT = frozenset((408, 425, 429))

_log = logging.getLogger(__name__)


class _Failed(Exception):
    """A failed attempt: the cause, and the seconds until the next one; ``wait`` None dead-letters the delivery."""

    def __init__(self, error: str, wait: float | None) -> None:
        super().__init__(error)
        self.error = error
        self.wait = wait


class Sender:
    """Delivers to one destination: by requests, or by a command.

    Args:
        destination: The destination.
        outbox: The deliveries.
        encryptor: Decrypts the requests.
        metrics: The server's metrics.
        sent: Records the requests that were answered.
        threads: Where it reads and writes the outbox.
    """

    def __init__(
        self,
        destination: Destination,
        outbox: Outbox,
        encryptor: Encryptor,
        metrics: Metrics,
        sent: SentCalls,
        threads: ThreadPool,
    ) -> None:
        self._destination = destination
        self._outbox = outbox
        self._encryptor = encryptor
        self._metrics = metrics
        self._sent = sent
        self._threads = threads
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Check the outbox now."""
        self._woken.set()

    async def run(self) -> NoReturn:
        """Deliver until cancelled.

        Raises:
            StoreUnavailable: The outbox doesn't answer; what was sent is sent again.
        """
        destination = self._destination
        headers = {"User-Agent": f"postback/{version('postback')}", **destination.headers}
        async with httpx2.AsyncClient(
            transport=GuardedTransport(allow_private=destination.allow_private),
            timeout=httpx2.Timeout(_REQUEST_TIMEOUT_SECONDS, connect=5),
            headers=headers,
            follow_redirects=False,
            trust_env=False,
        ) as client:
            while True:
                self._woken.clear()
                await self.deliver(client)
                wait = await self._threads.run(self._outbox.next_attempt, destination.name)
                # Another process may make a delivery due meanwhile, as 'postback forwards replay' does.
                longest = _IDLE_SECONDS if wait is None else min(wait + 0.01, _IDLE_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), longest)

    async def deliver(self, client: httpx2.AsyncClient) -> None:
        """Send each delivery that is due.

        Raises:
            StoreUnavailable: The outbox is unavailable; what was sent will be sent again.
        """
        while deliveries := await self._threads.run(self._outbox.take, self._destination.name, _CONCURRENT_REQUESTS):
            failures = await asyncio.gather(*(self._attempt(client, delivery) for delivery in deliveries))
            await self._threads.run(self._record, deliveries, failures)

    async def _attempt(self, client: httpx2.AsyncClient, delivery: Delivery) -> _Failed | None:
        """Send a delivery once; returns the failure, if any."""
        try:
            request = await self._threads.run(self._request, delivery)
            if request is not None:
                await self._hand_over(client, delivery, request)
                self._metrics.forwarded(delivery.destination, "delivered", delivery.events)
        except _Failed as failure:
            return failure
        except Exception as error:
            # Whatever the cause, a delivery must not be retried without end or without a pause.
            _log.exception("delivery %s could not be sent to %s", delivery.delivery_id, delivery.destination)
            return _Failed(f"internal error ({type(error).__name__})", backoff(delivery.attempts))
        return None

    def _request(self, delivery: Delivery) -> bytes | None:
        """The body to post; None if the delivery was replaced by others."""
        try:
            request = self._encryptor.decrypt(delivery.encrypted, delivery.delivery_id)
        except Undecryptable:
            raise _Failed("the delivery was encrypted with another secret", None) from None
        template = self._destination.template
        if template is None:
            return request
        events = events_in(request)
        if len(events) != 1:  # it was stored before the destination had a template
            self._outbox.replace(delivery, pack_events(self._encryptor, self._destination, delivery.key_id, events))
            return None
        try:
            return template.body(bytes(events[0]), delivery.event_source_id, delivery.account_id)
        except Unrenderable as error:
            raise _Failed(f"the template does not render valid JSON for this event ({error})", None) from None

    async def _hand_over(self, client: httpx2.AsyncClient, delivery: Delivery, body: bytes) -> None:
        if not self._destination.command:
            await self._post(client, delivery, body)
            return
        try:
            await run_command(self._destination.command, body, delivery.delivery_id, _REQUEST_TIMEOUT_SECONDS)
        except CommandFailed as error:
            raise _Failed(str(error), backoff(delivery.attempts)) from None

    async def _post(self, client: httpx2.AsyncClient, delivery: Delivery, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "Idempotency-Key": delivery.delivery_id}
        url, at = self._destination.url, datetime.now(UTC)
        try:
            # The status is enough; the body isn't read, because it may be endless.
            async with (
                asyncio.timeout(_REQUEST_TIMEOUT_SECONDS),
                client.stream("POST", url, content=body, headers=headers) as response,
            ):
                status = response.status_code
                self._sent.add(SentCall(delivery.key_id, url, body, status, at))
        except Forbidden:
            raise _Failed("the destination's address is private; allow_private = true permits it", None) from None
        except (httpx2.HTTPError, TimeoutError) as error:
            raise _Failed(f"no response ({type(error).__name__})", backoff(delivery.attempts)) from None
        if not response.is_success:
            raise _Failed(f"HTTP {status}", _wait(status, response.headers, delivery.attempts))

    def _record(self, deliveries: Sequence[Delivery], failures: Sequence[_Failed | None]) -> None:
        """Record the outcomes of a round."""
        self._outbox.delivered(delivery for delivery, failure in zip(deliveries, failures, strict=True) if not failure)
        for delivery, failure in zip(deliveries, failures, strict=True):
            if failure:
                wait = failure.wait if delivery.attempts + 1 < MAX_ATTEMPTS else None
                outcome, level = ("dead_lettered", logging.WARNING) if wait is None else ("failed", logging.INFO)
                self._outbox.failed(delivery, failure.error, wait)
                self._metrics.forwarded(delivery.destination, outcome, delivery.events)
                _log.log(
                    level, "delivery %s to %s failed: %s", delivery.delivery_id, delivery.destination, failure.error
                )


def _wait(status: int, headers: Mapping[str, str], attempts: int) -> float | None:
    """Seconds until the next attempt after this response; None for no further attempt."""
    if status < 500 and status not in _TRANSIENT:
        return None
    return max(backoff(attempts), _retry_after(headers.get("retry-after", "")))


def backoff(attempts: int) -> float:
    """Seconds to wait after so many attempts: doubling from two up to an hour, with random jitter down to half."""
    longest = min(MAX_WAIT_SECONDS, 2.0 ** (attempts + 1))
    return random.uniform(longest / 2, longest)  # noqa: S311 - to spread load, not to be secret


def _retry_after(text: str) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3), at most an hour; 0 if it is malformed."""
    try:
        seconds = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, min(seconds, MAX_WAIT_SECONDS))
