"""What integration tests share: a seller that has something to sell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.orders import SOURCES

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer


@pytest.fixture(scope="session")
def seller(start_server: StartServer) -> Server:
    """A sandbox, which has products to try, with two event sources."""
    running = start_server(sandbox="true")
    running.call("sync_event_sources", event_sources=SOURCES).raise_for_status()
    return running
