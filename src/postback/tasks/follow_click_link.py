"""GET /c/{token}: record a click, and redirect to the page.

Each click gets its own id, which the page receives as a parameter and which returns in an event's user_match. Only its
match key is stored here. A click that doesn't count is redirected, too.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from postback.accounts.permissions import is_open
from postback.errors import NotFound, PostbackError, StoreUnavailable
from postback.events.event import UserMatch
from postback.exposures.click_tokens import ClickLink
from postback.exposures.click_traffic import InvalidClickReason, Visitor
from postback.exposures.exposure import Exposure, exposure_rows
from postback.exposures.invalid_clicks import InvalidClicks
from postback.protocol.timestamps import micros
from postback.services import Services

__all__ = ["follow", "store_invalid_clicks", "store_last_invalid_clicks"]

_RECORD_SECONDS = 1.0
"""How long a visitor waits for a slow store."""

_log = logging.getLogger(__name__)
_recording: set[asyncio.Task[None]] = set()


async def follow(services: Services, token: str, visitor: Visitor) -> str | None:
    """Record a click; returns the URL to redirect to, also if the store is down or slow, or the click doesn't count.

    None if a browser prefetches the page: it asks again when somebody clicks, and that click then has its own id.

    Raises:
        NotFound: This installation did not issue the token.
    """
    link = services.click_links.read(token)
    if link is None:
        raise NotFound("This server did not issue this link.")
    click_id, reason = services.visitor_clicks.click(link, visitor, secrets.token_urlsafe(18))
    work = asyncio.create_task(_record(services, link, click_id, reason))
    _recording.add(work)
    work.add_done_callback(_recording.discard)
    await asyncio.wait({work}, timeout=_RECORD_SECONDS)
    return None if visitor.prefetches else _with_parameter(link.destination, link.parameter, click_id)


async def store_invalid_clicks(services: Services) -> None:
    """Store the invalid clicks that were counted since the last time.

    Raises:
        Overloaded, StoreUnavailable: They can't be stored now, and are counted on.
    """
    taken = services.invalid_clicks.take()
    try:
        await services.log.append(InvalidClicks.rows(taken))
    except PostbackError:
        services.invalid_clicks.put_back(taken)
        raise


async def store_last_invalid_clicks(services: Services) -> None:
    """The same when the server stops, which it does in any case."""
    try:
        await store_invalid_clicks(services)
    except PostbackError as error:
        _log.error("invalid clicks could not be recorded: %s", error.reason)


async def _record(
    services: Services, link: ClickLink, click_id: str, invalid_reason: InvalidClickReason | None
) -> None:
    reason = invalid_reason if await _is_open(services, link.account_id) else "ACCOUNT_CLOSED"
    if reason:
        services.invalid_clicks.count(link, services.clock.utc(), reason)
        services.metrics.click("invalid")
        return
    exposure = Exposure(
        exposure_id=f"click:{uuid.uuid4()}",
        kind="click",
        occurred_at=micros(services.clock.utc()),
        media_buy_id=link.media_buy_id,
        package_id=link.package_id,
        creative_id=link.creative_id,
        match_keys=services.identifiers.match(UserMatch(click_id=click_id), []),
    )
    try:
        await services.log.append(exposure_rows(link.account_id, [exposure]))
    except PostbackError as error:
        _log.error("a click could not be recorded: %s", error.reason)
        services.metrics.click("lost")
    else:
        services.metrics.click("recorded")


async def _is_open(services: Services, account_id: str) -> bool:
    try:
        account = await services.threads.ingestion.run(services.accounts.recent, account_id)
    except StoreUnavailable:
        _log.warning("the account of a click link could not be looked up: its click counts")
        return True
    return account is not None and is_open(account)


def _with_parameter(destination: str, parameter: str, click_id: str) -> str:
    parts = urlsplit(destination)
    kept = parts.query
    if any(name == parameter for name, _ in parse_qsl(kept, keep_blank_values=True)):
        kept = urlencode([pair for pair in parse_qsl(kept, keep_blank_values=True) if pair[0] != parameter])
    query = "&".join(filter(None, (kept, f"{parameter}={click_id}")))
    return urlunsplit(parts._replace(query=query))
