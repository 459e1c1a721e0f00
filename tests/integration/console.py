"""A visitor of the console, for tests: signs in as a browser does, by forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from tests.conftest import Server

__all__ = ["anonymous", "csrf_of", "signed_in"]


def anonymous(server: Server) -> httpx2.Client:
    """A browser that nobody has signed in with."""
    return httpx2.Client(base_url=server.url, headers={"Origin": server.url, "Accept": "text/html"}, timeout=120)


@contextmanager
def signed_in(server: Server, key: str) -> Iterator[httpx2.Client]:
    """A browser that somebody with this key has signed in with."""
    with anonymous(server) as browser:
        response = browser.post("/console/sign-in", data={"key": key})
        assert response.status_code == 303, response.text
        yield browser


def csrf_of(page: str) -> str:
    """The token of the forms on a page."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found
    return found[1]
