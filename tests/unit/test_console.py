"""The console's door: what expires, what is refused, and what no response of it lacks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.clocks import Hands
from tests.in_process import KEY, serving
from tests.integration.console import csrf_of

from postback.auth.console_keys import KEY_PREFIX, ConsoleKeys
from postback.auth.console_sessions import SESSION_SECONDS, ConsoleSessions
from postback.console.page import Action, Page
from postback.console.routes import PAGES
from postback.console.session import safe_return
from postback.store.control_store import ControlStore

ORIGIN = "https://track.seller.example"
HTML = {"Accept": "text/html", "Authorization": "", "Origin": ORIGIN}
JSON = {"Accept": "application/json"}
PLAIN_PAGES = [page.path for page in PAGES if isinstance(page, Page) and "{" not in page.path]
ACTIONS = [action.path for action in PAGES if isinstance(action, Action)]

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def hands() -> Hands:
    return Hands()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("console") / "data"


@pytest.fixture(scope="module")
async def served(folder: Path, hands: Hands) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(folder, hands.clock, rate_limit=6000, public_url=ORIGIN) as client:
        client.base_url = httpx2.URL(ORIGIN)
        client.headers.update(HTML)
        yield client


@pytest.fixture
def browser(served: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """A browser that nobody has signed in with."""
    served.cookies.clear()
    return served


async def sign_in(browser: httpx2.AsyncClient, key: str = KEY, **fields: str) -> httpx2.Response:
    return await browser.post("/console/sign-in", data={"key": key, **fields})


async def status_as_json(browser: httpx2.AsyncClient) -> int:
    return (await browser.get("/console/server?format=json")).status_code


async def test_a_session_lasts_twelve_hours_and_no_longer(browser: httpx2.AsyncClient, hands: Hands) -> None:
    await sign_in(browser)
    hands.let_pass(SESSION_SECONDS - 60)
    assert await status_as_json(browser) == 200
    csrf = csrf_of((await browser.get("/console/server")).text)
    hands.let_pass(120)
    assert await status_as_json(browser) == 401
    sent = await browser.post(ACTIONS[0], data={"csrf": csrf})
    assert (sent.status_code, sent.headers["location"]) == (303, "/console/sign-in")


def test_a_session_survives_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/control.db"
    before = ControlStore(url)
    before.migrate()
    token = ConsoleSessions(before, lambda: 0.0).begin("key_1")
    before.close()

    after = ControlStore(url)
    try:
        assert ConsoleSessions(after, lambda: 1.0).key_id(token) == "key_1"
    finally:
        after.close()


def test_a_session_that_was_begun_by_a_clock_far_ahead_is_over(tmp_path: Path) -> None:
    control = ControlStore(f"sqlite:///{tmp_path}/control.db")
    control.migrate()
    try:
        token = ConsoleSessions(control, lambda: 3.0 * SESSION_SECONDS).begin("key_1")
        assert ConsoleSessions(control, lambda: 0.0).key_id(token) is None
    finally:
        control.close()


def test_whoever_signs_in_again_and_again_ends_the_oldest_sessions_of_the_key(tmp_path: Path) -> None:
    control = ControlStore(f"sqlite:///{tmp_path}/control.db")
    control.migrate()
    times = iter(range(102))
    sessions = ConsoleSessions(control, lambda: next(times))
    try:
        others = sessions.begin("key_2")
        tokens = [sessions.begin("key_1") for _ in range(101)]

        lasting = ConsoleSessions(control, lambda: 102)
        assert lasting.key_id(tokens[0]) is None
        assert {lasting.key_id(token) for token in tokens[1:]} == {"key_1"}
        assert lasting.key_id(others) == "key_2"
    finally:
        control.close()


async def test_scripts_other_sites_and_plain_http_get_no_cookie(
    browser: httpx2.AsyncClient,
) -> None:
    cookie = (await sign_in(browser)).headers["set-cookie"].lower()

    assert {"httponly", "secure", "samesite=lax", "path=/console", f"max-age={SESSION_SECONDS}"} <= set(
        cookie.split("; ")
    )


async def test_a_form_of_another_site_does_nothing(browser: httpx2.AsyncClient) -> None:
    forged = {"Origin": "https://elsewhere.example"}
    assert (await browser.post("/console/sign-in", data={"key": KEY}, headers=forged)).status_code == 403
    await sign_in(browser)
    for origin in ("https://elsewhere.example", f"{ORIGIN}:8443", "null", ""):
        sent = await browser.post("/console/sign-out", data={"csrf": "0" * 64}, headers={"Origin": origin})
        assert sent.status_code == 403
    assert await status_as_json(browser) == 200


async def test_an_action_needs_the_forms_token_and_a_console_key(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    csrf = csrf_of((await browser.get("/console/server")).text)
    assert ACTIONS

    for path in ACTIONS:
        refused = [
            (await browser.post(path, data={"csrf": token}, headers=JSON)).json()["adcp_error"]["message"]
            for token in ("", "0" * 64, csrf)
        ]
        foreign = "This form belongs to another session. Open its page again, and send it from there."
        assert refused == [foreign, foreign, "Only the operator may do this."], path


async def test_every_response_keeps_scripts_frames_and_caches_out(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    for path in ("/console/sign-in", *PLAIN_PAGES, "/console/nothing", "/console/server?account=x", "/"):
        headers = (await browser.get(path)).headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))

        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'", path
        assert policy["script-src"].startswith("'nonce-"), path
        assert "unsafe" not in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["cache-control"] == "no-store", path
        assert headers["referrer-policy"] == "same-origin", path


async def test_nobody_sees_a_page_without_signing_in(browser: httpx2.AsyncClient) -> None:
    for path in PLAIN_PAGES:
        asked, as_json = await browser.get(f"{path}?x=1"), await browser.get(path, headers=JSON)

        assert (asked.status_code, as_json.status_code) == (303, 401), path
        part = await browser.get(path, headers={"HX-Request": "true"})
        assert (part.status_code, part.headers["hx-refresh"]) == (401, "true"), path
        assert asked.headers["location"] == f"/console/sign-in?next={path.replace('/', '%2F')}%3Fx%3D1"


@pytest.mark.parametrize(
    "address",
    [
        *("https://elsewhere.example/console/", "//elsewhere.example/console/", "/\\elsewhere.example/console/"),
        *("javascript:alert(1)", "/console/sign-in?next=/console/server", "/v1/log_event", "/console/\r\nx: y", ""),
        "/console\\..\\..\\elsewhere",
    ],
)
def test_signing_in_leads_nowhere_but_into_the_console(address: str) -> None:
    assert safe_return(address) == ""


async def test_a_format_that_no_page_has_is_refused(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    refused = await browser.get("/console/server?format=xml", headers=JSON)

    assert (refused.status_code, refused.json()["adcp_error"]["field"]) == (400, "format")


async def test_a_program_reads_a_page_with_its_key_as_json(browser: httpx2.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}", **JSON}
    found: dict[str, Any] = (await browser.get("/console/server/accounts", headers=headers)).json()

    assert [account["account_id"] for account in found["accounts"]] == ["default"]


async def test_a_browser_at_the_servers_address_is_led_to_the_console(browser: httpx2.AsyncClient) -> None:
    assert (await browser.get("/")).headers["location"] == "/console"
    as_json = await browser.get("/", headers=JSON)
    assert as_json.json()["console"] == "/console"


async def test_who_tries_many_keys_is_refused_as_any_caller_is(browser: httpx2.AsyncClient) -> None:
    statuses = [(await sign_in(browser, f"pb_guess_{number}")).status_code for number in range(61)]

    assert statuses == [401] * 60 + [429]


async def test_a_console_key_that_was_valid_opens_while_its_address_guesses_keys(
    browser: httpx2.AsyncClient, folder: Path, hands: Hands
) -> None:
    hands.let_pass(60)  # so that nothing is counted for the address
    control = ControlStore(f"sqlite:///{folder}/control.db")
    key, unseen = (ConsoleKeys(control).create(name)[1] for name in ("Ann", "Bo"))
    control.close()
    assert (await sign_in(browser, key)).status_code == 303

    guesses = [(await sign_in(browser, f"{KEY_PREFIX}guess_{number}")).status_code for number in range(61)]

    assert guesses == [401] * 60 + [429]
    assert (await sign_in(browser, unseen)).status_code == 429
    assert (await sign_in(browser, key)).status_code == 303
