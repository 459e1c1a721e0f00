"""Processes to measure."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

__all__ = ["Endpoint", "free_port", "running"]

_START_SECONDS = 60
_POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server under load.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        pids: Its processes; those that they started belong to it too.
        headers: What a client sends with each request.
    """

    port: int
    pids: Sequence[int]
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """CPU time that its processes have taken, in seconds; those that have ended are included."""
        return sum(_cpu_s(pid) for pid in self._all_pids())

    def resident_mb(self) -> tuple[float, float]:
        """Memory of its processes in MB (10⁶ bytes): now, and the sum of their peaks."""
        each = [_resident_mb(pid) for pid in self._all_pids()]
        return sum(now for now, _ in each), sum(peak for _, peak in each)

    def _all_pids(self) -> Iterator[int]:
        waiting = list(self.pids)
        while waiting:
            pid = waiting.pop()
            yield pid
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += map(int, children.read_text().split())


@contextmanager
def running(
    command: Sequence[str], log: Path, ready: str, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the block is left, which is entered when a GET of the URL ``ready`` is answered by 200."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environ, stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} did not start:\n{log.read_text()}")
            time.sleep(_POLL_SECONDS)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=_START_SECONDS)


def free_port() -> int:
    """A TCP port on 127.0.0.1 where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _answers(url: str) -> bool:
    with suppress(URLError, ConnectionError), urlopen(url, timeout=_START_SECONDS) as answer:
        return bool(answer.status == 200)
    return False


def _cpu_s(pid: int) -> float:
    """Of a process, and of its children that have ended."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> tuple[float, float]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if name[:2] == "Vm"}
    return kib["VmRSS"] * 1024 / 1e6, kib["VmHWM"] * 1024 / 1e6
