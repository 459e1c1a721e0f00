"""get_adcp_capabilities: what this server does, and nothing more (protocol/get-adcp-capabilities-response.json)."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.accounts.entries import SUPPORTED_BILLING
from postback.media_buys.attribution_windows import offered_windows
from postback.products.product import FEATURES, TARGETS
from postback.protocol.enums import ACTION_SOURCES, released_event_types, released_uid_types
from postback.protocol.json_schema import published_as
from postback.protocol.release_features import (
    has_account_currency_modes,
    has_buying_modes,
    has_propagation_surfaces,
    has_scenario,
)
from postback.protocol.releases import MAJORS, RELEASES
from postback.store.idempotency import REPLAY_TTL_SECONDS
from postback.tasks.call import TaskCall
from postback.tasks.comply_test_controller import scenarios
from postback.tasks.get_products import BUYING_MODES
from postback.tasks.task import Task

__all__ = ["GET_ADCP_CAPABILITIES", "CapabilitiesRequest", "CapabilitiesResponse", "get_adcp_capabilities"]

_Protocol = Literal["media_buy", "signals", "governance", "sponsored_intelligence", "creative"]


class CapabilitiesRequest(msgspec.Struct):
    """The task's own arguments (protocol/get-adcp-capabilities-request.json); they change nothing here."""

    protocols: Annotated[
        Any,
        published_as(
            Annotated[list[_Protocol], Meta(min_length=1, description="Protocols to ask about; all when absent.")]
        ),
    ] = None


class IdempotencySupport(msgspec.Struct):
    """``adcp.idempotency``."""

    supported: Annotated[bool, Meta(description="Whether a retry under its idempotency_key acts only once.")]
    replay_ttl_seconds: Annotated[int, Meta(description="How long a response is stored for retries.")]


class AdcpSupport(msgspec.Struct):
    """``adcp``."""

    major_versions: Annotated[list[int], Meta(description="What adcp_major_version may be.")]
    supported_versions: Annotated[list[str], Meta(description="What adcp_version may be.")]
    build_version: Annotated[str, Meta(description="Version of this server.")]
    idempotency: Annotated[IdempotencySupport, Meta(description="How retries are made safe.")]


class AccountSupport(msgspec.Struct, kw_only=True):
    """``account``."""

    require_operator_auth: Annotated[bool, Meta(description="Whether each operator needs credentials of its own.")]
    supported_billing: Annotated[list[str], Meta(description="Who can be invoiced.")]
    supported_account_currency_modes: Annotated[
        list[str] | UnsetType, Meta(description="What decides the currency; from AdCP 3.2 on.")
    ] = UNSET
    sandbox: Annotated[bool, Meta(description="Whether you can set up sandbox accounts.")]


class ConversionTrackingSupport(msgspec.Struct, kw_only=True):
    """``media_buy.conversion_tracking``."""

    supported_event_types: Annotated[list[str], Meta(description="What event_type may be.")]
    supported_targets: Annotated[list[str], Meta(description="What an event goal may aim at.")]
    supported_uid_types: Annotated[list[str], Meta(description="What user_match.uids[].type may be.")]
    supported_hashed_identifiers: Annotated[list[str], Meta(description="Hashed identifiers of user_match.")]
    supported_action_sources: Annotated[list[str], Meta(description="What action_source may be.")]
    multi_source_event_dedup: Annotated[
        bool, Meta(description="Whether the same event from several sources of a goal counts once.")
    ]
    attribution_windows: Annotated[
        list[dict[str, Any]], Meta(description="What attribution_window of a goal may be: post_click and post_view.")
    ]


class MediaBuySupport(msgspec.Struct, kw_only=True):
    """``media_buy``."""

    buying_modes: Annotated[
        list[str] | UnsetType, Meta(description="What buying_mode of get_products may be; from AdCP 3.1 on.")
    ] = UNSET
    propagation_surfaces: Annotated[
        list[str] | UnsetType,
        Meta(description="Where media buys show what impairs them: get_media_buys; from AdCP 3.1 on."),
    ] = UNSET
    features: Annotated[dict[str, bool], Meta(description="What every product supports.")]
    conversion_tracking: Annotated[ConversionTrackingSupport, Meta(description="What log_event accepts.")]


class RequestSigning(msgspec.Struct):
    """``request_signing``."""

    supported: Annotated[bool, Meta(description="Whether signatures are verified.")]
    covers_content_digest: Annotated[str, Meta(description="Whether a signature must cover the body.")]
    required_for: Annotated[list[str], Meta(description="Tasks whose calls must be signed.")]
    supported_for: Annotated[list[str], Meta(description="Tasks whose calls may be signed.")]


class ComplianceTesting(msgspec.Struct):
    """``compliance_testing``."""

    scenarios: Annotated[list[str], Meta(description="What the test controller can do.")]


class CapabilitiesResponse(msgspec.Struct, kw_only=True):
    """protocol/get-adcp-capabilities-response.json, without the envelope."""

    adcp_version: Annotated[str | UnsetType, Meta(description="The AdCP release whose capabilities these are.")] = UNSET
    adcp: Annotated[AdcpSupport, Meta(description="The protocol's own capabilities.")]
    supported_protocols: Annotated[list[str], Meta(description="Protocols that are supported.")]
    account: Annotated[AccountSupport, Meta(description="How accounts work.")]
    media_buy: Annotated[MediaBuySupport, Meta(description="How buying and conversion tracking work.")]
    request_signing: Annotated[
        RequestSigning | UnsetType, Meta(description="Present when your calls must be signed.")
    ] = UNSET
    compliance_testing: Annotated[ComplianceTesting | UnsetType, Meta(description="Present in sandboxes.")] = UNSET


_ADCP = AdcpSupport(
    major_versions=list(MAJORS),
    supported_versions=list(RELEASES),
    build_version=version("postback"),
    idempotency=IdempotencySupport(supported=True, replay_ttl_seconds=REPLAY_TTL_SECONDS),
)
_PROTOCOLS = ["media_buy"]


async def get_adcp_capabilities(call: TaskCall) -> CapabilitiesResponse:
    """The capabilities as the call's release has them; as the newest one does if the call pins none."""
    release = call.release or RELEASES[-1]
    signing = call.services.signatures.posture(call.principal)
    settings = call.services.settings
    supported = [*RELEASES, *settings.prereleases]
    return CapabilitiesResponse(
        adcp_version=UNSET if call.release else release,  # the envelope has the one that was pinned
        adcp=msgspec.structs.replace(_ADCP, supported_versions=supported),
        supported_protocols=_PROTOCOLS,
        account=AccountSupport(
            require_operator_auth=False,
            supported_billing=list(SUPPORTED_BILLING),
            supported_account_currency_modes=["per_media_buy"] if has_account_currency_modes(release) else UNSET,
            sandbox=settings.sandbox or settings.sandbox_accounts,
        ),
        media_buy=MediaBuySupport(
            buying_modes=list(BUYING_MODES) if has_buying_modes(release) else UNSET,
            propagation_surfaces=["snapshot"] if has_propagation_surfaces(release) else UNSET,
            features=dict.fromkeys(FEATURES, True),
            conversion_tracking=ConversionTrackingSupport(
                supported_event_types=list(released_event_types(release)),
                supported_targets=list(TARGETS),
                supported_uid_types=list(released_uid_types(release)),
                supported_hashed_identifiers=["hashed_email", "hashed_phone"],
                supported_action_sources=list(ACTION_SOURCES),
                multi_source_event_dedup=True,
                attribution_windows=[offered_windows()],
            ),
        ),
        request_signing=RequestSigning(**signing) if signing else UNSET,
        compliance_testing=ComplianceTesting(_scenarios(call)) if settings.sandbox else UNSET,
    )


def _scenarios(call: TaskCall) -> list[str]:
    """What the test controller can do."""
    return [name for name in scenarios(call.services) if has_scenario(call.release, name)]


GET_ADCP_CAPABILITIES = Task(
    name="get_adcp_capabilities",
    title="Get capabilities",
    description=(
        "Say what this seller's conversion tracking supports: AdCP releases, tasks, identifiers, event types and "
        "limits. Call it first. Changes nothing."
    ),
    function=get_adcp_capabilities,
    request=CapabilitiesRequest,
    response=CapabilitiesResponse,
    example={},
    mutating=False,
    failure_defaults={
        "adcp": msgspec.to_builtins(_ADCP),
        "supported_protocols": _PROTOCOLS,
        "account": {"supported_billing": list(SUPPORTED_BILLING)},
    },
)
