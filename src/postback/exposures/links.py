"""Click links: addresses that record a click and lead on to the advertiser's page.

A link's token carries what it is for, signed with a key of its own that is derived from the install's secret: nobody
can make a link, or change where one leads. Each click gets an id of its own, which the page receives as a parameter and
which comes back in an event's user_match; here only its match key is stored.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from itsdangerous import BadData, URLSafeSerializer
from msgspec import Meta

from postback.accounts.references import resolve_account
from postback.errors import InvalidRequest, MediaBuyNotFound, NotFound, PostbackError
from postback.exposures.exposure import Exposure, exposure_rows, micros
from postback.ingest.event import UserMatch

if TYPE_CHECKING:
    from postback.services import Services
    from postback.tasks import TaskCall

__all__ = ["ClickLink", "ClickLinkRequest", "ClickLinks", "create_click_link", "follow"]

_DEFAULT_PARAMETER = "pb_click_id"
_MAX_DESTINATION = 2_000
_RECORD_SECONDS = 1.0
"""How long a visitor waits for the click to be stored, when the store is slow."""

_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_log = logging.getLogger(__name__)
_recording: set[asyncio.Task[None]] = set()


class ClickLinkRequest(msgspec.Struct):
    """The arguments of POST /v1/click-links.

    Attributes:
        media_buy_id: The media buy that clicks are counted for.
        package_id: The package.
        destination: The page that the link leads to: an absolute http or https URL.
        creative_id: What is clicked, or None.
        parameter: The query parameter in which the page receives the click id.
        account: core/account-ref.json; None when the key acts for one account.
    """

    media_buy_id: _Name
    package_id: _Name
    destination: str
    creative_id: _Name | None = None
    parameter: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")] = _DEFAULT_PARAMETER
    account: Any = None


class ClickLink(msgspec.Struct, array_like=True, frozen=True):
    """What a token carries."""

    account_id: str
    media_buy_id: str
    package_id: str
    creative_id: str
    parameter: str
    destination: str


class ClickLinks:
    """Signs and reads tokens, with one install's secret (32 bytes)."""

    def __init__(self, secret: bytes) -> None:
        self._serializer = URLSafeSerializer(secret, salt="postback.click-link")

    def token(self, link: ClickLink) -> str:
        """A token that only this install can make."""
        return str(self._serializer.dumps(msgspec.to_builtins(link)))

    def read(self, token: str) -> ClickLink | None:
        """What a token carries; None unless this install made it."""
        try:
            return msgspec.convert(self._serializer.loads(token), ClickLink)
        except (BadData, msgspec.ValidationError, RecursionError):
            return None


async def create_click_link(call: TaskCall) -> dict[str, Any]:
    """Make a link. The same arguments give the same link.

    Raises:
        InvalidRequest: A malformed argument, or a destination that can't be one.
        MediaBuyNotFound: The account has no such media buy or package.
        AccountRequired, AccountNotFound, AccountAmbiguous: No single account fits.
    """
    request = call.arguments.to(ClickLinkRequest)
    account = resolve_account(call.principal, request.account)
    known = await asyncio.to_thread(call.services.media_buys.package_keys, account.account_id)
    if (request.media_buy_id, request.package_id) not in known:
        raise MediaBuyNotFound("The account has no such media buy or package.", field="package_id")
    _check_destination(request.destination)
    link = ClickLink(
        account.account_id,
        request.media_buy_id,
        request.package_id,
        request.creative_id or "",
        request.parameter,
        request.destination,
    )
    token = call.services.click_links.token(link)
    return {
        "url": f"{call.services.settings.public_url}/c/{token}",
        "token": token,
        "parameter": link.parameter,
        "destination": link.destination,
    }


async def follow(services: Services, token: str) -> str:
    """Record a click; returns the address to go on to. A store that is down or slow keeps nobody from getting there.

    Raises:
        NotFound: The token isn't one of this install's.
    """
    link = services.click_links.read(token)
    if link is None:
        raise NotFound("This link is not one of this server's.")
    click_id = secrets.token_urlsafe(18)
    work = asyncio.create_task(_record(services, link, click_id))
    _recording.add(work)
    work.add_done_callback(_recording.discard)
    await asyncio.wait({work}, timeout=_RECORD_SECONDS)
    return _with_parameter(link.destination, link.parameter, click_id)


async def _record(services: Services, link: ClickLink, click_id: str) -> None:
    exposure = Exposure(
        exposure_id=f"click:{uuid.uuid4()}",
        kind="click",
        occurred_at=micros(datetime.now(UTC)),
        media_buy_id=link.media_buy_id,
        package_id=link.package_id,
        creative_id=link.creative_id,
        match_keys=services.identifiers.match(UserMatch(click_id=click_id), []).keys,
    )
    try:
        await services.writer.write(exposure_rows(link.account_id, [exposure], services.stamps.take(1)))
    except PostbackError as error:
        _log.error("a click could not be recorded: %s", error.reason)
        services.metrics.click("lost")
    else:
        services.metrics.click("recorded")


def _check_destination(destination: str) -> None:
    try:
        parts = urlsplit(destination)
        fit = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None
        _ = parts.port
    except ValueError:
        fit = False
    if (
        not fit
        or len(destination) > _MAX_DESTINATION
        or not re.fullmatch(r"[!-~]+", destination)
        or "\\" in destination
    ):
        raise InvalidRequest(
            "destination must be an absolute http or https URL of at most 2,000 ASCII characters, without credentials, "
            "as https://shop.example/offer.",
            field="destination",
        )


def _with_parameter(destination: str, parameter: str, click_id: str) -> str:
    parts = urlsplit(destination)
    kept = parts.query
    if any(name == parameter for name, _ in parse_qsl(kept, keep_blank_values=True)):
        kept = urlencode([pair for pair in parse_qsl(kept, keep_blank_values=True) if pair[0] != parameter])
    query = "&".join(filter(None, (kept, f"{parameter}={click_id}")))
    return urlunsplit(parts._replace(query=query))
