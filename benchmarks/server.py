"""The server under test: ``postback serve`` in a process of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.events import SOURCE
from benchmarks.processes import free_port, running

__all__ = ["Server", "data_folder", "serving"]

_KEY = "pb_of_the_benchmarks"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        pid: Its process.
        started_in: Seconds from its start to its readiness.
    """

    port: int
    pid: int
    started_in: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {_KEY}", "Content-Type": "application/json"}

    def call(self, task: str, **arguments: Any) -> None:
        """Call a task over REST; anything but success is an error."""
        httpx2.post(f"{self.url}/v1/{task}", json=arguments, headers=self.headers, timeout=60).raise_for_status()

    def counters(self) -> dict[str, float]:
        """The samples of /metrics by name, summed over their labels."""
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(httpx2.get(f"{self.url}/metrics").text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0) + sample.value
        return sums

    def resident_mb(self) -> tuple[float, float]:
        """Memory of the server and its judging processes in MB (10⁶ bytes): now, and the sum of their peaks."""
        each = [_resident_mb(pid) for pid in self._pids()]
        return sum(now for now, _ in each), sum(peak for _, peak in each)

    def cpu_s(self) -> float:
        """CPU time that the server and its judging processes have taken, in seconds."""
        return sum(_cpu_s(pid) for pid in self._pids())

    def _pids(self) -> list[str]:
        judges = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [str(self.pid), *judges]


def _cpu_s(pid: str) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: str) -> tuple[float, float]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if name[:2] == "Vm"}
    return kib["VmRSS"] * 1024 / 1e6, kib["VmHWM"] * 1024 / 1e6


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve from ``folder`` until the block is left, which is entered when the server is ready and knows the source."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTBACK_")}
    environ |= {
        "POSTBACK_DATA": str(data_folder(folder)),
        "POSTBACK_PORT": str(port),
        "POSTBACK_BOOTSTRAP_KEY": _KEY,
        "POSTBACK_RATE_LIMIT": "0",
    }
    command = [sys.executable, "-m", "postback", "serve"]
    started = time.perf_counter()
    with running(command, folder / "server.log", f"http://127.0.0.1:{port}/readyz", environ) as process:
        server = Server(port, process.pid, time.perf_counter() - started)
        server.call("sync_event_sources", event_sources=[SOURCE])
        yield server


def data_folder(folder: Path) -> Path:
    """Where a server that serves from ``folder`` stores."""
    return folder / "data"
