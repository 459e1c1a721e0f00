"""Every page of the console as a picture, from the demo's data: light and dark, on a desktop and on a phone;
three screens of it at most.

``python -m tests.screenshots`` writes build/screenshots/PAGE-SIZE-SCHEME.png; ``make screenshots`` calls it. With
``--readme`` it also makes the picture that the README shows.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from playwright.sync_api import FloatRect, Page
from tests.browser import browsing
from tests.conftest import servers
from tests.console_pages import find_pages
from tests.demo_server import start_demo_server
from tests.integration.console import signed_in
from tests.vendored import ROOT

FOLDER = ROOT / "build" / "screenshots"
README_PAGE = "/console/live?account=default"
README_PICTURE = ROOT / "docs" / "images" / "console.png"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def sign_in(page: Page, url: str, key: str) -> None:
    """Sign in by the form."""
    page.goto(f"{url}/console/sign-in")
    page.fill("#key", key)
    page.press("#key", "Enter")
    page.wait_for_selector("nav[aria-label='Pages']")


def main() -> None:
    """Make the pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder, servers(lambda: Path(mkdtemp(dir=folder))) as start:
        server, key = start_demo_server(start)
        with signed_in(server, key) as browser:
            pages = find_pages(browser)
        for size, (width, height) in SIZES.items():
            for dark in (False, True):
                with browsing(width=width, height=height, dark=dark) as context:
                    page = context.pages[0]
                    kind = f"{size}-{'dark' if dark else 'light'}"
                    page.goto(f"{server.url}/console/sign-in")
                    page.screenshot(path=FOLDER / f"sign-in-{kind}.png", full_page=True)
                    sign_in(page, server.url, key)
                    if kind == "desktop-light" and "--readme" in sys.argv:
                        page.goto(server.url + README_PAGE)
                        page.screenshot(path=README_PICTURE)
                    for path, address in pages.items():
                        page.goto(server.url + address)
                        tall = min(page.evaluate("document.documentElement.scrollHeight"), 3 * height)
                        clip: FloatRect = {"x": 0, "y": 0, "width": width, "height": tall}
                        page.screenshot(path=FOLDER / f"{_name(path)}-{kind}.png", full_page=True, clip=clip)
    print(f"{4 * (len(pages) + 1)} pictures are in {FOLDER.relative_to(ROOT)}.")  # noqa: T201


def _name(path: str) -> str:
    """A page's path as a file's name: ``sources-event_source_id``."""
    parts = path.removeprefix("/console/").split("/")
    return "-".join(part.strip("{}").removesuffix(":path") for part in parts)


if __name__ == "__main__":
    main()
