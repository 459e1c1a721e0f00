"""The server under test: ``postback serve`` in a process of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.events import SOURCE
from benchmarks.processes import Endpoint, free_port, running
from postback.transports.shared_answer import SHARED_SECONDS

__all__ = ["CHECKOUT", "Server", "data_folder", "serving"]

CHECKOUT = Path(__file__).parents[1]
"""The checkout of this repository that these programs are part of."""

_KEY = "pb_of_the_benchmarks_and_of_nobody"
_POLL_SECONDS = 0.02
_DRAIN_SECONDS = 300
_FOUND, _NOT_YET = 200, (404, 503)
_DEFAULTS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server(Endpoint):
    """A running Postback server; ``started_in`` is the seconds from its start to its readiness."""

    started_in: float

    def call(self, task: str, **arguments: Any) -> dict[str, Any]:
        """Call a task over REST; anything but success is an error."""
        response = httpx2.post(f"{self.url}/v1/{task}", json=arguments, headers=dict(self.headers), timeout=60)
        answer: dict[str, Any] = response.raise_for_status().json()
        return answer

    def counters(self) -> dict[str, float]:
        """The samples of /metrics by name, summed over their labels; none is older than this call."""
        sums: dict[str, float] = {}
        time.sleep(SHARED_SECONDS)
        for family in text_string_to_metric_families(httpx2.get(f"{self.url}/metrics", timeout=60).text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0) + sample.value
        return sums

    def wait_until_stored(self, event_ids: Iterable[str]) -> float:
        """Wait until these purchases can be looked up in the event store; returns the seconds."""
        started = time.perf_counter()
        with httpx2.Client(base_url=self.url, headers=dict(self.headers), timeout=60) as client:
            for event_id in event_ids:
                path = f"/v1/events/{SOURCE['event_source_id']}/purchase/{event_id}"
                while (status := client.get(path).status_code) != _FOUND:
                    if status not in _NOT_YET or time.perf_counter() - started > _DRAIN_SECONDS:
                        raise RuntimeError(f"an event that was acknowledged is not in the store: status {status}")
                    time.sleep(_POLL_SECONDS)
        return time.perf_counter() - started

    def stored_events(self) -> int:
        """Events of the last 24 hours that the health of the event source counts."""
        [source] = self.call("sync_event_sources")["event_sources"]
        received: int = source["health"]["events_received_24h"]
        return received

    def check_stored(self, events: int) -> None:
        """Check that so many events were stored since the folder was made, which is less than a day ago."""
        stored = self.stored_events()
        if stored != events:
            raise RuntimeError(f"{events:,} events were acknowledged, {stored:,} are stored")


@contextmanager
def serving(folder: Path, checkout: Path = CHECKOUT, settings: Mapping[str, str] = _DEFAULTS) -> Iterator[Server]:
    """Serve from ``folder`` until the block is left, which is entered when the server is ready and knows the source.

    Args:
        folder: Has the log of the server, and its data folder.
        checkout: Whose source code serves; it needs no packages but those of this environment.
        settings: Its settings beside those of every server here, as ``POSTBACK_EVENTS``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTBACK_")}
    environ |= {
        "PYTHONPATH": str(checkout / "src"),
        "POSTBACK_DATA": str(data_folder(folder)),
        "POSTBACK_PORT": str(port),
        "POSTBACK_BOOTSTRAP_KEY": _KEY,
        "POSTBACK_RATE_LIMIT": "0",
        **settings,
    }
    command = [sys.executable, "-m", "postback", "serve"]
    headers = {"Authorization": f"Bearer {_KEY}", "Content-Type": "application/json"}
    started = time.perf_counter()
    with running(command, folder / "server.log", f"http://127.0.0.1:{port}/readyz", environ) as process:
        started_in = time.perf_counter() - started
        server = Server(port=port, pids=[process.pid], headers=headers, started_in=started_in)
        server.call("sync_event_sources", event_sources=[SOURCE])
        yield server


def data_folder(folder: Path) -> Path:
    """Where a server that serves from ``folder`` stores."""
    return folder / "data"
