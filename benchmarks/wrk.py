"""Single events by wrk, which costs a few µs a call, so that the server is what is measured."""

from __future__ import annotations

import shutil
import subprocess
from itertools import count
from pathlib import Path

import click
import msgspec

from benchmarks.events import BATCH, Batches
from benchmarks.processes import Endpoint

__all__ = ["SingleEvents", "Wrk", "require_wrk"]

_SCRIPT = Path(__file__).with_name("single_event.lua")
_NUMBERS_A_RUN = 2**24


class SingleEvents(msgspec.Struct):
    """What one run found, as the script prints it; ``server_s`` is the server's CPU time, added afterwards."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int
    server_s: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def server_ms(self) -> float:
        """CPU time of the server for a request, in milliseconds."""
        return self.server_s / self.requests * 1000


def require_wrk() -> None:
    """Fail, with the way out, when the load generator is missing."""
    if not shutil.which("wrk"):
        raise click.ClickException("Single events are sent by wrk, which is missing. Install it: apt-get install wrk")


class Wrk:
    """Sends one event a call, never the same, from one thread. ``folder`` has what it sends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = count(1)  # numbers below are left to batches on the same server

    def send(self, endpoint: Endpoint, connections: int, seconds: int, *, keyed: bool = True) -> SingleEvents:
        """Send for so many seconds, with an idempotency key for each event or without."""
        template = self._folder / "event.json"
        template.write_bytes(Batches(1, keyed=keyed).template)
        headers = [part for name, value in endpoint.headers.items() for part in ("-H", f"{name}: {value}")]
        load = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(_SCRIPT)]
        script_arguments = [str(template), BATCH.decode(), str(next(self._runs) * _NUMBERS_A_RUN)]
        command = ["wrk", *load, *headers, f"{endpoint.url}/v1/log_event", "--", *script_arguments]
        before = endpoint.cpu_s()
        printed = subprocess.run(command, check=True, capture_output=True).stdout
        found = msgspec.json.decode(printed.splitlines()[-1], type=SingleEvents)
        found.server_s = endpoint.cpu_s() - before
        if found.failed or not found.requests:
            raise RuntimeError(f"{found.failed} of {found.requests} calls failed")
        return found
