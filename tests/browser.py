"""A real browser, Debian's Chromium, for the tests that look at pages as people do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import BrowserContext, sync_playwright

__all__ = ["browsing"]

_PATIENCE = 120
_QUIET = (
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def browsing(
    *, width: int = 1280, height: int = 900, dark: bool = False, user_agent: str | None = None, scripts: bool = True
) -> Iterator[BrowserContext]:
    """A browser's window of this size with nothing stored; skips the test where Chromium isn't installed.

    It runs no scripts without ``scripts``.

    Without a ``user_agent`` it says that it has no window, as crawlers do.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium isn't installed (Debian's package chromium)")
    with TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            Path(profile),
            executable_path=chromium,
            args=[*_QUIET],
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            user_agent=user_agent,
            java_script_enabled=scripts,
        )
        context.set_default_timeout(_PATIENCE * 1000)
        try:
            yield context
        finally:
            context.close()
