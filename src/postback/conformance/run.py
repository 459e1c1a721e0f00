"""Runs the checks against one server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from postback.conformance import calls, counted, error_codes, events
from postback.conformance.answer import Unreadable, dicts
from postback.conformance.check import CHECKS, Check, Failed, Skipped
from postback.conformance.seller import Seller
from postback.errors import StartupError

__all__ = ["CheckOutcome", "prepare", "run"]

_MODULES = (calls, counted, error_codes, events)  # which register their checks when they are imported
_SHOWN = 600


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """The outcome of a check.

    Attributes:
        check: The check.
        result: Whether the server fulfils the requirement.
        expected: What was expected, if it failed, or why it was skipped.
        got: The response, shortened.
    """

    check: Check
    result: Literal["passed", "failed", "skipped"]
    expected: str = ""
    got: str = ""


def prepare(seller: Seller) -> None:
    """Determine the server's newest release, and set up the event sources that the checks use.

    Raises:
        StartupError: The server can't be reached, it refuses the key, or the sources can't be set up.
    """
    try:
        capabilities = seller.call("get_adcp_capabilities")
        if capabilities.status in (401, 403):
            raise StartupError("The server refuses the API key. Check --key.")
        seller.capabilities = capabilities.body
        seller.release = max(seller.releases, default=None)
        sources: list[dict[str, Any]] = [
            {"event_source_id": seller.source, "name": "Conformance suite"},
            {"event_source_id": seller.purchases, "name": "Conformance suite", "event_types": ["purchase"]},
        ]
        answer = seller.call("sync_event_sources", event_sources=sources)
    except Unreadable as error:
        url = seller.transport.url
        raise StartupError(
            f"{url} does not respond like an AdCP server. Expected {error}; got {_short(error.got)}"
        ) from error
    known = [entry.get("event_source_id") for entry in dicts(answer.body.get("event_sources"))]
    if answer.failed or not {seller.source, seller.purchases} <= {str(name) for name in known}:
        raise StartupError(f"sync_event_sources did not set up two event sources: {_short(answer.body)}")


def run(seller: Seller, checks: Iterable[Check] = CHECKS) -> Iterator[CheckOutcome]:
    """Run checks in order. One that gets no response fails, and the next one runs."""
    for check in checks:
        try:
            check.run(seller)
        except (Failed, Unreadable) as failed:
            yield CheckOutcome(check, "failed", failed.expected, _short(failed.got))
        except StartupError as unreachable:
            yield CheckOutcome(check, "failed", "a response", str(unreachable))
        except Skipped as skipped:
            yield CheckOutcome(check, "skipped", str(skipped))
        else:
            yield CheckOutcome(check, "passed")


def _short(got: Any) -> str:
    text = " ".join(got.split()) if isinstance(got, str) else json.dumps(got)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
