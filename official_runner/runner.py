"""The official runner, against a sandbox that it starts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from official_runner.storyboards import Storyboards

__all__ = ["KEY", "PROTOCOLS", "Result", "run_all", "run_storyboards", "sandbox"]

_HERE = Path(__file__).parent

KEY = "demo-acme-outdoor-v1"
"""The API key of the official test kits."""

PROTOCOLS = {"mcp": "/mcp", "a2a": "/"}


@dataclass(frozen=True)
class Result:
    """The result of one storyboard over one protocol, as run.mjs reports it."""

    protocol: str
    report: dict[str, Any]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Its steps. One that failed in an optional phase is ``excused``: the runner doesn't count it."""
        return [
            {**step, "result": "excused"} if phase["optional"] and step["result"] == "failed" else step
            for phase in self.report["phases"]
            for step in phase["steps"]
        ]


def run_all(storyboards: Storyboards) -> list[Result]:
    """Every storyboard over every protocol, each protocol on a fresh sandbox."""
    results = []
    for protocol, at in PROTOCOLS.items():
        with sandbox() as url:
            results += run_storyboards(f"{url}{at}", protocol, storyboards)
    return results


def run_storyboards(url: str, protocol: str, storyboards: Storyboards) -> list[Result]:
    """Run storyboards with the official runner.

    Raises:
        RuntimeError: The runner itself failed.
    """
    command = ["node", str(_HERE / "run.mjs"), url, protocol, KEY, *map(str, storyboards.files)]
    environ = {**os.environ, "ADCP_SKIP_VERSION_CHECK": "1", "ADCP_COMPLIANCE_DIR": str(storyboards.folder)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"The official runner failed:\n{done.stderr[-3000:]}")
    return [Result(protocol, report) for report in json.loads(done.stdout)]


@contextmanager
def sandbox() -> Iterator[str]:
    """Start a sandbox; yields its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        settings = {"DATA": data, "PORT": str(port), "SANDBOX": "true", "RATE_LIMIT": "0", "LOG_LEVEL": "error"}
        others = {name: value for name, value in os.environ.items() if not name.startswith("POSTBACK_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "postback", "serve"],
            env=others | {f"POSTBACK_{name}": value for name, value in settings.items()},
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/readyz"):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError("The sandbox did not become ready within 30 seconds.")
