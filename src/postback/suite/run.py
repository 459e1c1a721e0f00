"""Runs the checks against one server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from postback.errors import StartupError
from postback.suite import calls, events
from postback.suite.check import CHECKS, Check, Failed, Skipped
from postback.suite.seller import Seller

__all__ = ["Outcome", "prepare", "run"]

_MODULES = (calls, events)  # which register their checks when they are imported
_SHOWN = 600


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a check.

    Attributes:
        check: The check.
        result: Whether the server did as demanded.
        expected: What was expected, when it failed, or why it was skipped.
        got: What came back, shortened.
    """

    check: Check
    result: Literal["passed", "failed", "skipped"]
    expected: str = ""
    got: str = ""


def prepare(seller: Seller) -> None:
    """Find out which release the server speaks, and set up the source that the checks use.

    Raises:
        StartupError: The server can't be reached, the key isn't taken, or the source can't be set up.
    """
    capabilities = seller.call("get_adcp_capabilities", release=None)
    if capabilities.status in {401, 403}:
        raise StartupError("The server doesn't take the key. Check --key.")
    releases = (capabilities.body.get("adcp") or {}).get("supported_versions") or []
    seller.release = max((r for r in releases if isinstance(r, str)), default=None)
    source = {"event_source_id": seller.source, "name": "Conformance suite"}
    answer = seller.call("sync_event_sources", event_sources=[source])
    known = answer.body.get("event_sources") or []
    if not any(entry.get("event_source_id") == seller.source for entry in known):
        raise StartupError(f"sync_event_sources did not set up a source: {_short(answer.body)}")


def run(seller: Seller) -> Iterator[Outcome]:
    """Run every check, in order.

    Raises:
        StartupError: The server can't be reached any more.
    """
    for check in CHECKS:
        try:
            check.run(seller)
        except Failed as failed:
            yield Outcome(check, "failed", failed.expected, _short(failed.got))
        except Skipped as skipped:
            yield Outcome(check, "skipped", str(skipped))
        else:
            yield Outcome(check, "passed")


def _short(got: Any) -> str:
    text = got if isinstance(got, str) else msgspec.json.encode(got).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
