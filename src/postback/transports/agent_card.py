"""The agent card: where agents find the A2A endpoint and its skills."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from postback.protocol.releases import RELEASES

__all__ = ["AGENT_CARD_PATH", "agent_card"]

AGENT_CARD_PATH = "/.well-known/agent-card.json"

_EXTENSION = "https://adcontextprotocol.org/extensions/adcp"


def agent_card(url: str, skills: Mapping[str, str]) -> dict[str, Any]:
    """The card of a server at ``url``, with its skills and their descriptions (A2A 1.0, 4.4.1; 0.3, 5.5).

    It is one document for both versions, which share most names.
    """
    endpoint = f"{url}/a2a"
    extension = {
        "uri": _EXTENSION,
        "description": "AdCP, the Ad Context Protocol",
        "params": {"adcp_version": RELEASES[-1], "protocols_supported": ["media_buy"]},
        "required": False,
    }
    return {
        "name": "Postback",
        "description": "Conversion tracking for advertising: event sources, media buys, conversions, delivery.",
        "version": version("postback"),
        "capabilities": {"streaming": False, "pushNotifications": False, "extensions": [extension]},
        "defaultInputModes": ["application/json"],
        "defaultOutputModes": ["application/json"],
        # Official clients find the tasks by the names of the skills.
        "skills": [
            {"id": name, "name": name, "description": description, "tags": ["adcp"]}
            for name, description in skills.items()
        ],
        "supportedInterfaces": [
            {"url": endpoint, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
            {"url": endpoint, "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
        ],
        "securitySchemes": {
            "bearer": {"httpAuthSecurityScheme": {"scheme": "bearer"}, "type": "http", "scheme": "bearer"}
        },
        "securityRequirements": [{"schemes": {"bearer": {}}}],
        # Of 0.3 alone.
        "protocolVersion": "0.3",
        "url": endpoint,
        "preferredTransport": "JSONRPC",
        "security": [{"bearer": []}],
    }
