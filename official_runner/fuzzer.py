"""The official fuzzer, on the read-only tasks."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from official_runner.runner import KEY, PROTOCOLS, sandbox

__all__ = ["FUZZED", "Fuzzed", "fuzz_all"]

FUZZED = ("get_adcp_capabilities", "get_products", "get_media_buys", "get_media_buy_delivery")

_COMMAND = Path(__file__).parent / "node_modules" / "@adcp" / "sdk" / "bin" / "adcp.js"
_SEED = 42
_CALLS = 50
"""Per task and protocol."""


@dataclass(frozen=True)
class Fuzzed:
    """Its results over one protocol."""

    protocol: str
    calls: int
    failures: list[str]


def fuzz_all() -> list[Fuzzed]:
    """Fuzz a fresh sandbox over every protocol.

    Raises:
        RuntimeError: The fuzzer itself failed.
    """
    with sandbox() as url:
        return [_fuzz(f"{url}{path}", protocol) for protocol, path in PROTOCOLS.items()]


def _fuzz(url: str, protocol: str) -> Fuzzed:
    options = {
        "--protocol": protocol,
        "--auth-token": KEY,
        "--tools": ",".join(FUZZED),
        "--seed": str(_SEED),
        "--turn-budget": str(_CALLS),
        "--format": "json",
    }
    command = ["node", str(_COMMAND), "fuzz", url, *(word for option in options.items() for word in option)]
    environ = {**os.environ, "ADCP_SKIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"The official fuzzer failed:\n{done.stderr[-3000:]}")
    report = json.loads(done.stdout)
    return Fuzzed(protocol, report["totalRuns"], [json.dumps(failure)[:500] for failure in report["failures"]])
