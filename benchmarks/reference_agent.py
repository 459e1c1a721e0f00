"""The reference for MCP: the official SDK's server with a handler that only counts.

Run as ``python -m benchmarks.reference_agent PORT``.
"""

from __future__ import annotations

import sys
from typing import Any

from adcp.server import ADCPHandler, serve
from adcp.server.responses import log_event_response

__all__ = ["CountingAgent"]


class CountingAgent(ADCPHandler[Any]):  # type: ignore[misc] # the SDK is not type-checked
    """Answers log_event, and keeps nothing."""

    async def log_event(self, params: Any, context: Any = None) -> dict[str, Any]:
        events = params["events"] if isinstance(params, dict) else params.events
        answer: dict[str, Any] = log_event_response(len(events), len(events))
        return answer


if __name__ == "__main__":
    serve(CountingAgent(), host="127.0.0.1", port=int(sys.argv[1]), stateless_http=True)
