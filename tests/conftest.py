"""What every test shares."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Asynchronous tests run on the loop that the server runs on."""
    return "asyncio", {"use_uvloop": True}
