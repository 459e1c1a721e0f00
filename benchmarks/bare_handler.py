"""The least that a Python server must do with a call: decode the body into typed structs, answer JSON, store nothing.

Run as ``python -m benchmarks.bare_handler PORT``; one process and one event loop, set up like Postback's own.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.processes import Endpoint, free_port, running
from postback.events.event import Event
from postback.events.request import LogEventRequest

__all__ = ["serving_bare_handler"]


class _Call(LogEventRequest):
    events: list[Event]  # type: ignore[assignment] # decoded with the rest


_decode = msgspec.json.Decoder(_Call).decode
_encode = msgspec.json.Encoder().encode


async def _log_event(request: Request) -> Response:
    count = len(_decode(await request.body()).events)
    return Response(_encode({"events_received": count, "events_processed": count}), media_type="application/json")


async def _healthz(_: Request) -> Response:
    return Response(b"{}", media_type="application/json")


@contextmanager
def serving_bare_handler(folder: Path) -> Iterator[Endpoint]:
    """Serve until the block is left."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare_handler", str(port)]
    with running(command, folder / "bare_handler.log", f"http://127.0.0.1:{port}/healthz") as process:
        yield Endpoint(port=port, pids=[process.pid])


def _serve(port: int) -> None:
    app = Starlette(routes=[Route("/v1/log_event", _log_event, methods=["POST"]), Route("/healthz", _healthz)])
    config = uvicorn.Config(
        app,
        port=port,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
