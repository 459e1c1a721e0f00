"""get_adcp_capabilities: what this server does, and nothing more (protocol/get-adcp-capabilities-response.json)."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from postback.accounts.entries import SUPPORTED_BILLING
from postback.idempotency import KEPT_SECONDS
from postback.media_buys.goals import TARGETS
from postback.media_buys.windows import offered_windows
from postback.protocol.enums import ACTION_SOURCES, released_event_types, released_uid_types
from postback.protocol.releases import RELEASES
from postback.sandbox.controller import scenarios

if TYPE_CHECKING:
    from postback.tasks import TaskCall

__all__ = ["get_adcp_capabilities"]


async def get_adcp_capabilities(call: TaskCall) -> dict[str, Any]:
    """The capabilities, in the words of the release that is spoken."""
    signing = call.services.signatures.posture(call.principal)
    return {
        "adcp": {
            "major_versions": sorted({int(release.split(".")[0]) for release in RELEASES}),
            "supported_versions": list(RELEASES),
            "build_version": version("postback"),
            "idempotency": {"supported": True, "replay_ttl_seconds": KEPT_SECONDS},
        },
        "supported_protocols": ["media_buy"],
        "account": {
            "require_operator_auth": False,
            "supported_billing": list(SUPPORTED_BILLING),
            "sandbox": True,
        },
        "media_buy": {
            "features": {"conversion_tracking": True},
            "conversion_tracking": {
                "supported_event_types": list(released_event_types(call.release)),
                "supported_targets": list(TARGETS),
                "supported_uid_types": list(released_uid_types(call.release)),
                "supported_hashed_identifiers": ["hashed_email", "hashed_phone"],
                "supported_action_sources": list(ACTION_SOURCES),
                "multi_source_event_dedup": True,
                "attribution_windows": [offered_windows()],
            },
        },
        **({"request_signing": signing} if signing else {}),
        **({"compliance_testing": {"scenarios": _scenarios(call)}} if call.services.settings.sandbox else {}),
    }


def _scenarios(call: TaskCall) -> list[str]:
    """What the test controller can do; AdCP 3.0 had no names for seeding and queries."""
    unknown = ("seed_", "query_") if call.release == "3.0" else ()
    return [name for name in scenarios(call.services) if not name.startswith(unknown)]
