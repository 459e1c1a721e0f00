"""get_adcp_capabilities: what this server does, and nothing more (protocol/get-adcp-capabilities-response.json)."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from postback.accounts.entries import SUPPORTED_BILLING
from postback.idempotency import KEPT_SECONDS
from postback.media_buys.discovery import BUYING_MODES
from postback.media_buys.goals import TARGETS
from postback.media_buys.products import FEATURES
from postback.media_buys.windows import offered_windows
from postback.protocol.differences import has_account_currency_modes, has_buying_modes, has_scenario
from postback.protocol.enums import ACTION_SOURCES, released_event_types, released_uid_types
from postback.protocol.releases import MAJORS, RELEASES
from postback.sandbox.controller import scenarios

if TYPE_CHECKING:
    from postback.tasks import TaskCall

__all__ = ["CAPABILITIES_BLANK", "get_adcp_capabilities"]

_ADCP = {
    "major_versions": list(MAJORS),
    "supported_versions": list(RELEASES),
    "build_version": version("postback"),
    "idempotency": {"supported": True, "replay_ttl_seconds": KEPT_SECONDS},
}
_PROTOCOLS = ["media_buy"]
_BILLING = {"supported_billing": list(SUPPORTED_BILLING)}

CAPABILITIES_BLANK = {"adcp": _ADCP, "supported_protocols": _PROTOCOLS, "account": _BILLING}
"""What the schema requires even of a call that failed."""


async def get_adcp_capabilities(call: TaskCall) -> dict[str, Any]:
    """The capabilities, in the words of the release that is spoken: the newest one's when the call pins none."""
    release = call.release or RELEASES[-1]
    signing = call.services.signatures.posture(call.principal)
    return {
        "adcp_version": release,
        "adcp": _ADCP,
        "supported_protocols": _PROTOCOLS,
        "account": {
            "require_operator_auth": False,
            **_BILLING,
            **({"supported_account_currency_modes": ["per_media_buy"]} if has_account_currency_modes(release) else {}),
            "sandbox": True,
        },
        "media_buy": {
            **({"buying_modes": list(BUYING_MODES)} if has_buying_modes(release) else {}),
            "features": dict.fromkeys(FEATURES, True),
            "conversion_tracking": {
                "supported_event_types": list(released_event_types(release)),
                "supported_targets": list(TARGETS),
                "supported_uid_types": list(released_uid_types(release)),
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
    """What the test controller can do."""
    return [name for name in scenarios(call.services) if has_scenario(call.release, name)]
