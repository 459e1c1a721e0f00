"""Processes to measure."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

__all__ = ["free_port", "running"]

_START_SECONDS = 60
_POLL_SECONDS = 0.005


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
