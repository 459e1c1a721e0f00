"""The pages of the console as a visitor finds them: by following links, from the first page on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx2
from starlette.datastructures import QueryParams
from starlette.routing import compile_path

from postback.console.page import Page, Resource
from postback.console.routes import PAGES

__all__ = ["PLACES", "find_pages"]

PLACES = [page for page in PAGES if isinstance(page, Page)]
_GETS = [(page, compile_path(page.path)[0]) for page in PAGES if isinstance(page, Page | Resource)]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.found.append(href)


def find_pages(browser: httpx2.Client) -> dict[str, str]:
    """Each page's path, as ``/console/sources/{event_source_id}`` → the first address of it that a link leads to.

    The first for the account ``default``, if there is one: some pages show nothing before an account is chosen.
    """
    found: dict[str, str] = {}
    followed: set[tuple[str, str]] = set()
    waiting = deque(["/console"])
    while waiting:
        address = waiting.popleft()
        response = browser.get(address, follow_redirects=True)
        response.raise_for_status()
        for link in _links(response):
            page, account = _page_of(link), QueryParams(urlsplit(link).query).get("account", "")
            if page and (page, account) not in followed:
                followed.add((page, account))
                if account == "default" or page not in found:
                    found[page] = link
                waiting.append(link)
    return found


def _links(response: httpx2.Response) -> Iterator[str]:
    parser = _Links()
    parser.feed(response.text)
    for href in parser.found:
        link = urlsplit(urljoin(str(response.url), href))
        if link.path.startswith("/console/") and "format=" not in link.query:
            yield link.path + (f"?{link.query}" if link.query else "")


def _page_of(address: str) -> str | None:
    path = urlsplit(address).path
    page = next((page for page, pattern in _GETS if pattern.match(path)), None)
    return page.path if isinstance(page, Page) else None
