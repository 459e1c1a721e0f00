"""Scripts of web pages may call the MCP endpoint from the server's own URL, and from where the operator says."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from postback.config import load_settings
from postback.errors import OriginNotAllowed
from postback.transports.origin_guard import OriginGuard

LOCAL: dict[str, str] = {}
PUBLIC = {"POSTBACK_PUBLIC_URL": "https://ads.seller.example/postback", "POSTBACK_HOST": "10.1.2.3"}
LISTED = PUBLIC | {"POSTBACK_ALLOWED_ORIGINS": "https://tools.example:8443,http://localhost:6274"}


def allowed(settings: dict[str, str], *origins: str) -> bool:
    headers = Headers(raw=[(b"host", b"evil.example"), *((b"origin", origin.encode()) for origin in origins)])
    try:
        OriginGuard(load_settings(settings)).check(headers)
    except OriginNotAllowed:
        return False
    return True


@pytest.mark.parametrize("settings", [LOCAL, PUBLIC, LISTED])
def test_a_program_that_is_no_browser_sends_no_origin(settings: dict[str, str]) -> None:
    assert allowed(settings)


@pytest.mark.parametrize(
    ("settings", "origin"),
    [
        (LOCAL, "http://127.0.0.1:8787"),
        (LOCAL, "http://localhost:8787"),
        (LOCAL, "http://localhost:6274"),
        (LOCAL, "http://[::1]:8787"),
        (PUBLIC, "https://ads.seller.example"),
        (PUBLIC, "https://ADS.seller.example:443"),
        (PUBLIC, "http://10.1.2.3:8787"),
        (LISTED, "https://tools.example:8443"),
        (LISTED, "http://localhost:6274"),
    ],
)
def test_an_own_page_may_call(settings: dict[str, str], origin: str) -> None:
    assert allowed(settings, origin)


@pytest.mark.parametrize(
    ("settings", "origin"),
    [
        (LOCAL, "http://evil.example"),
        (LOCAL, "http://evil.example:8787"),
        (LOCAL, "http://localhost.evil.example:8787"),
        (LOCAL, "http://127.0.0.1.evil.example"),
        (LOCAL, "http://127.0.0.1:8787@evil.example"),
        (LOCAL, "null"),
        (LOCAL, ""),
        (LOCAL, "file://"),
        (LOCAL, "chrome-extension://abcdef"),
        (PUBLIC, "http://ads.seller.example"),
        (PUBLIC, "https://ads.seller.example:8443"),
        (PUBLIC, "https://seller.example"),
        (PUBLIC, "http://localhost:8787"),
        (LISTED, "https://tools.example"),
        (LISTED, "http://localhost:8787"),
    ],
)
def test_another_page_may_not(settings: dict[str, str], origin: str) -> None:
    assert not allowed(settings, origin)


def test_of_several_origins_each_must_be_allowed() -> None:
    assert not allowed(LOCAL, "http://localhost:8787", "http://evil.example")
