"""Runs the checks against one server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from postback.errors import StartupError
from postback.suite import calls, counted, events, vocabulary
from postback.suite.answer import Unreadable, dicts
from postback.suite.check import CHECKS, Check, Failed, Skipped
from postback.suite.seller import Seller

__all__ = ["Outcome", "prepare", "run"]

_MODULES = (calls, counted, events, vocabulary)  # which register their checks when they are imported
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
    """Find out which release the server speaks, and set up the sources that the checks use.

    Raises:
        StartupError: The server can't be reached, the key isn't taken, or the sources can't be set up.
    """
    try:
        capabilities = seller.call("get_adcp_capabilities")
        if capabilities.status in (401, 403):
            raise StartupError("The server doesn't take the key. Check --key.")
        seller.capabilities = capabilities.body
        seller.release = max(seller.releases, default=None)
        sources: list[dict[str, Any]] = [
            {"event_source_id": seller.source, "name": "Conformance suite"},
            {"event_source_id": seller.purchases, "name": "Conformance suite", "event_types": ["purchase"]},
        ]
        answer = seller.call("sync_event_sources", event_sources=sources)
    except Unreadable as told:
        url = seller.transport.url
        raise StartupError(
            f"{url} doesn't answer as an AdCP server does. Expected {told}; got {_short(told.got)}"
        ) from told
    known = [entry.get("event_source_id") for entry in dicts(answer.body.get("event_sources"))]
    if answer.failed or not {seller.source, seller.purchases} <= {str(name) for name in known}:
        raise StartupError(f"sync_event_sources did not set up two sources: {_short(answer.body)}")


def run(seller: Seller, checks: Iterable[Check] = CHECKS) -> Iterator[Outcome]:
    """Run checks, in order; one that the server doesn't answer fails, and the next one is run."""
    for check in checks:
        try:
            check.run(seller)
        except (Failed, Unreadable) as failed:
            yield Outcome(check, "failed", failed.expected, _short(failed.got))
        except StartupError as unreachable:
            yield Outcome(check, "failed", "an answer", str(unreachable))
        except Skipped as skipped:
            yield Outcome(check, "skipped", str(skipped))
        else:
            yield Outcome(check, "passed")


def _short(got: Any) -> str:
    text = " ".join(got.split()) if isinstance(got, str) else json.dumps(got)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
