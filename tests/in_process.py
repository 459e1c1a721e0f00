"""The server in the process of the test, for those that are to be fast or that reach into it.

The engine of the event store opens one folder in a process: one server at a time, and no event store beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from tests.conftest import events_of

from postback.app import open_app
from postback.clock import Clock
from postback.config import load_settings

KEY = "pb_of_the_tests_servers_and_of_nobody"


@asynccontextmanager
async def serving(data: Path, clock: Clock | None = None, **settings: object) -> AsyncIterator[httpx2.AsyncClient]:
    """A sandbox over this data folder, and a client that calls it."""
    chosen = {
        "data": data,
        "bootstrap_key": KEY,
        "rate_limit": 0,
        "sandbox": True,
        "events": events_of(data),
    } | settings
    async with (
        open_app(load_settings({}, **chosen), clock) as (app, _),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app),
            base_url="http://127.0.0.1:8787",
            headers={"Authorization": f"Bearer {KEY}"},
        ) as client,
    ):
        yield client


async def call(client: httpx2.AsyncClient, task: str, **arguments: Any) -> dict[str, Any]:
    response = await client.post(f"/v1/{task}", json=arguments)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert "adcp_error" not in answer, answer
    return answer
