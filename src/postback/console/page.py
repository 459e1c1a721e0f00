"""What a page of the console is: an address, a template, and the function that returns everything that it shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

import msgspec
from starlette.datastructures import ImmutableMultiDict
from starlette.responses import Response

from postback.auth.principal import Account, Principal
from postback.console.csv_table import CsvTable
from postback.errors import PermissionDenied
from postback.services import Services
from postback.tasks.source_health import Traffic

__all__ = ["Action", "Once", "Page", "Resource", "Visit"]


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who has signed in.

    Attributes:
        services: The opened resources.
        principal: The visitor, as tasks know callers: the accounts are those that the visitor may see or, with
            ``?account=``, the one that was chosen. An account that the visitor may not see is never in it.
        accounts: Every account that the visitor may see, sorted by account_id.
        seller: Whether the visitor has a console key: sees all accounts, and may administer.
        query: The parameters of the URL, without ``account`` and ``format``; the last value of each.
        path: The parameters of the path.
        address: The path of the page as in the URL, with its variable parts quoted.
        account_id: The account that ``?account=`` chose, or None.
        csrf: The token that every form that posts must carry, in the field ``csrf``.
        nonce: The nonce of this response's Content-Security-Policy, which every element with an ``hx-`` attribute
            must carry as ``hx-nonce``.
        now: The time at which the page is made, in UTC.
        is_signed_in: Returns whether the visitor still is signed in; for responses that last, such as a stream.
        last_event_id: Of a stream, the id of the last message that a browser had before it connected again; else empty.
        traffic: Returns what came from the sources of an account, as it was a quarter of a minute ago at most.
        render: Renders a block of a page's template; see ``block``.
    """

    services: Services
    principal: Principal
    accounts: tuple[Account, ...]
    seller: bool
    query: Mapping[str, str]
    path: Mapping[str, str]
    address: str
    account_id: str | None
    csrf: str
    nonce: str
    now: datetime
    is_signed_in: Callable[[], Awaitable[bool]]
    last_event_id: str
    traffic: Callable[[str], Awaitable[Traffic]]
    render: Callable[[Page, str, Visit, msgspec.Struct], str]

    def block(self, page: Page, name: str, model: msgspec.Struct) -> str:
        """One block of a page's template as HTML, for a stream that sends parts of the page."""
        return self.render(page, name, self, model)

    def url(self, path: str | None = None, **parameters: object) -> str:
        """An address with the chosen account; without ``path`` this page with its query.

        Args:
            path: The path of a page, its variable parts quoted by ``quote(part, safe="")``.
            parameters: Parameters that are added or replaced, or left out where None.
        """
        kept = dict(self.query) if path is None else {}
        account = {"account": self.account_id}
        query = {name: value for name, value in {**account, **kept, **parameters}.items() if value is not None}
        path = self.address if path is None else path
        return path + (f"?{urlencode(query)}" if query else "")

    def require_seller(self) -> None:
        """Check that the visitor may administer.

        Raises:
            PermissionDenied: The visitor signed in with an API key.
        """
        if not self.seller:
            raise PermissionDenied(
                "Only the operator may do this.",
                suggestion="Sign in with a console key: 'postback console-keys create' makes one.",
            )


@dataclass(frozen=True, slots=True)
class Page:
    """A page. Its HTML and its JSON are made of the same struct, so the HTML shows nothing that the JSON lacks.

    Attributes:
        path: Its path below the host, for example ``/console/sources/{event_source_id}``.
        title: Its title.
        template: Its template's file, which extends ``base.html`` and finds the struct as ``model``.
        model: Returns what the page shows. It raises a PostbackError where it can't: NotFound for what doesn't exist or
            belongs to others, InvalidRequest for a query that makes no sense.
        below: The path of the page that stands for it in the navigation; empty for one that stands there itself.
        csv: Returns the table that ``?format=csv`` downloads; ``table`` of the query names it where there are several.
    """

    path: str
    title: str
    template: str
    model: Callable[[Visit], Awaitable[msgspec.Struct]]
    below: str = ""
    csv: Callable[[Visit], Awaitable[CsvTable]] | None = None

    @property
    def section(self) -> str:
        """The path of the page that stands for it in the navigation."""
        return self.below or self.path


@dataclass(frozen=True, slots=True)
class Resource:
    """An address that is no page: a stream of server-sent events, a download.

    Attributes:
        path: Its path.
        respond: Returns the response to a GET request.
    """

    path: str
    respond: Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Once:
    """What an action shows once, on a page without an address: a new key.

    Attributes:
        title: The page's title.
        template: Its template.
        section: The path of the page that stands for it in the navigation.
        model: What it shows.
    """

    title: str
    template: str
    section: str
    model: msgspec.Struct


@dataclass(frozen=True, slots=True)
class Action:
    """What a form does: a POST whose Origin and token were checked. Only a visitor with a console key may do it.

    Attributes:
        path: Its path.
        act: Does it, with the form's fields, by the function that the command line has for it. Returns the address to
            go to, or what is shown once. It raises a PostbackError or a StartupError.
    """

    path: str
    act: Callable[[Visit, ImmutableMultiDict[str, str]], Awaitable[str | Once]]
