"""Click links: URLs that record a click and redirect to the advertiser's page.

A link's token is signed with a key derived from the installation's secret, so nobody can forge a link or change its
destination.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from postback.accounts.references import AccountArgument, resolve_account
from postback.errors import InvalidRequest, MediaBuyNotFound
from postback.exposures.click_tokens import ClickLink
from postback.protocol.json_schema import documented
from postback.tasks.call import TaskCall
from postback.tasks.task import Task

__all__ = ["CLICK_LINKS", "ClickLinkRequest", "ClickLinkResponse", "create_click_link"]

_DEFAULT_PARAMETER = "pb_click_id"
_MAX_DESTINATION = 2_000

_Name = Annotated[str, Meta(min_length=1, max_length=256)]


class ClickLinkRequest(msgspec.Struct):
    """The arguments of POST /v1/click-links."""

    media_buy_id: Annotated[_Name, Meta(description="The media buy that clicks are counted for.")]
    package_id: Annotated[_Name, Meta(description="The package.")]
    destination: Annotated[
        str, documented("The page: an absolute http or https URL.", format="uri", maxLength=_MAX_DESTINATION)
    ]
    creative_id: Annotated[_Name, Meta(description="What is clicked.")] | None = None
    parameter: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_.-]{1,64}\Z", description="The query parameter in which the page gets the click id."
        ),
    ] = _DEFAULT_PARAMETER
    account: AccountArgument = None


class ClickLinkResponse(msgspec.Struct):
    """The response, without the envelope."""

    url: Annotated[str, Meta(description="The link.")]
    token: Annotated[str, Meta(description="Its last part.")]
    parameter: Annotated[str, Meta(description="As requested.")]
    destination: Annotated[str, Meta(description="As requested.")]


async def create_click_link(call: TaskCall) -> ClickLinkResponse:
    """Create a link. The same arguments return the same link.

    Raises:
        InvalidRequest: An argument or the destination is malformed.
        MediaBuyNotFound: The account has no such media buy or package.
        AccountRequired, AccountNotFound, AccountAmbiguous: The reference doesn't match exactly one account.
    """
    request = call.arguments.to(ClickLinkRequest)
    account = resolve_account(call.principal, request.account)
    known = await call.services.threads.control.run(call.services.media_buys.package_currencies, account.account_id)
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
    url = f"{call.services.settings.public_url}/c/{token}"
    return ClickLinkResponse(url, token, link.parameter, link.destination)


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
            "for example https://shop.example/offer.",
            field="destination",
        )


CLICK_LINKS = Task(
    name="click-links",
    title="Create a click link",
    description="Create an address that records a click and redirects to a page, with the click id as a parameter.",
    function=create_click_link,
    request=ClickLinkRequest,
    response=ClickLinkResponse,
    example={"media_buy_id": "mb_1", "package_id": "mb_1_1", "destination": "https://shop.example/offer"},
    mutating=False,
    key="optional",
    scope="seller",
)
