"""The delivery report, as get_media_buy_delivery returns it (media-buy/get-media-buy-delivery-response.json)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.media_buys.attribution_windows import Window
from postback.protocol.enums import MediaBuyStatus
from postback.protocol.envelope import TIME, ErrorObject
from postback.protocol.json_schema import documented

__all__ = [
    "ActionSourceTotal",
    "AfterFinal",
    "AggregatedTotals",
    "BriefMetrics",
    "CreativeDelivery",
    "DayDelivery",
    "DeliveryReport",
    "EventTypeTotal",
    "ExactFigures",
    "LeftOutAmount",
    "MediaBuyDelivery",
    "Metrics",
    "PackageDelivery",
    "ReportDetails",
    "ReportExt",
    "ReportingPeriod",
]

_WINDOW = Meta(description="How long after a click or view a conversion counts.")
_DAYS = Meta(description="Day by day, UTC.")
_Final = Annotated[bool, Meta(description="Whether the numbers are final: nothing received later changes them.")]
_FinalizedAt = Annotated[str, Meta(description=f"Since when they are final: {TIME}")]


class ExactFigures(msgspec.Struct):
    """``ext`` beside a value that is negative, which AdCP's schema doesn't allow."""

    postback: Annotated[dict[str, float], Meta(description="The exact figure, below 0, by the name of its field.")]


class _Total(msgspec.Struct, kw_only=True):
    count: Annotated[int, documented("Conversions.", minimum=0)]
    value: (
        Annotated[float, Meta(ge=0, description="Their value, less refunds; 0 where that is negative.")] | UnsetType
    ) = UNSET
    ext: Annotated[ExactFigures | UnsetType, Meta(description="The value, where it is negative.")] = UNSET


class EventTypeTotal(_Total, kw_only=True):
    """Conversions of one event type."""

    event_type: Annotated[str, Meta(description="For example purchase.")]


class ActionSourceTotal(_Total, kw_only=True):
    """Conversions of one action source."""

    action_source: Annotated[str, Meta(description="For example website.")]


class BriefMetrics(msgspec.Struct, kw_only=True):
    """The metrics of everything that has figures, a day included; ``requested_metrics`` leaves some out."""

    impressions: Annotated[int, documented("Impressions.", minimum=0)]
    clicks: Annotated[int, documented("Clicks.", minimum=0)] | UnsetType = UNSET
    spend: Annotated[float, documented("What they cost.", minimum=0)]
    conversions: Annotated[int, documented("Conversions attributed; refunds are none.", minimum=0)] | UnsetType = UNSET
    conversion_value: (
        Annotated[
            float,
            documented("Their value, less refunds; 0 where that is negative, and ext has the exact figure.", minimum=0),
        ]
        | UnsetType
    ) = UNSET
    roas: Annotated[float, Meta(ge=0, description="conversion_value / spend; absent without spend.")] | UnsetType = (
        UNSET
    )
    cost_per_acquisition: (
        Annotated[float, Meta(ge=0, description="spend / conversions; absent without conversions.")] | UnsetType
    ) = UNSET
    ext: Annotated[ExactFigures | UnsetType, Meta(description="The conversion_value, where it is negative.")] = UNSET


class Metrics(BriefMetrics, kw_only=True):
    """core/delivery-metrics.json."""

    ctr: Annotated[float, Meta(ge=0, description="clicks / impressions.")] | UnsetType = UNSET
    viewability: Annotated[dict[str, Any] | UnsetType, Meta(description="How much of it could be seen.")] = UNSET
    by_event_type: Annotated[list[EventTypeTotal] | UnsetType, Meta(description="Adds up to conversions.")] = UNSET
    by_action_source: Annotated[
        list[ActionSourceTotal] | UnsetType, Meta(description="Events that name none are left out.")
    ] = UNSET


class DayDelivery(BriefMetrics, kw_only=True):
    """One UTC day."""

    date: Annotated[str, documented("A UTC day, for example 2026-01-31.", pattern=r"^\d{4}-\d{2}-\d{2}$")]


class CreativeDelivery(Metrics, kw_only=True):
    """One creative that exposures name."""

    creative_id: Annotated[str, Meta(description="The creative.")]


class PackageDelivery(Metrics, kw_only=True):
    """One package of a media buy."""

    package_id: Annotated[str, Meta(description="The package.")]
    is_final: _Final
    finalized_at: _FinalizedAt | UnsetType = UNSET
    pricing_model: Annotated[str, Meta(description="For example cpm.")]
    rate: Annotated[float, Meta(ge=0, description="Price of a unit.")]
    currency: Annotated[str, Meta(description="ISO 4217 code.")]
    paused: Annotated[bool, Meta(description="Whether it is paused.")]
    attribution_window: Annotated[Window | UnsetType, _WINDOW] = UNSET
    by_creative: Annotated[list[CreativeDelivery] | UnsetType, Meta(description="What exposures name.")] = UNSET
    daily_breakdown: Annotated[list[DayDelivery] | UnsetType, _DAYS] = UNSET


class MediaBuyDelivery(msgspec.Struct, kw_only=True):
    """One media buy."""

    media_buy_id: Annotated[str, Meta(description="The media buy.")]
    currency: Annotated[
        str | UnsetType, Meta(description="ISO 4217 code of its amounts; packages alone have it before AdCP 3.2.")
    ] = UNSET
    status: Annotated[MediaBuyStatus, Meta(description="How it stands.")]
    is_final: _Final
    finalized_at: _FinalizedAt | UnsetType = UNSET
    totals: Annotated[Metrics, Meta(description="The sum of its packages.")]
    by_package: Annotated[list[PackageDelivery], Meta(description="Every package.")]
    daily_breakdown: Annotated[list[DayDelivery], _DAYS]


class ReportingPeriod(msgspec.Struct):
    """The period of a report: from ``start`` (inclusive) to ``end`` (exclusive)."""

    start: Annotated[str, Meta(description=TIME)]
    end: Annotated[str, Meta(description=TIME)]


class AggregatedTotals(BriefMetrics, kw_only=True):
    """The sum over the media buys in the report's currency."""

    media_buy_count: Annotated[int, documented("Media buys in the response.", minimum=0)]


class LeftOutAmount(msgspec.Struct, kw_only=True):
    """What one figure of a package leaves out, for one reason and in one currency."""

    media_buy_id: Annotated[str, Meta(description="The media buy.")]
    package_id: Annotated[str, Meta(description="The package.")]
    figure: Annotated[str, Meta(description="The figure that would have it: conversion_value or spend.")]
    reason: Annotated[str, Meta(description="For programs: why it is left out, a value_reason.")]
    currency: Annotated[str | UnsetType, Meta(description="ISO 4217 code of the amount; absent if it has none.")] = (
        UNSET
    )
    count: Annotated[int, Meta(description="Events, or exposures and hourly totals.")]
    value: Annotated[float, Meta(description="The amount; negative for refunds, 0 where it is not a number.")]


class AfterFinal(msgspec.Struct, kw_only=True):
    """Refunds that came after the numbers of their purchase's package became final, in one currency."""

    media_buy_id: Annotated[str, Meta(description="The media buy.")]
    package_id: Annotated[str, Meta(description="The package.")]
    currency: Annotated[str | UnsetType, Meta(description="ISO 4217 code; absent if they state no amount.")] = UNSET
    count: Annotated[int, Meta(description="How many they are.")]
    value: Annotated[float, Meta(description="Their value, negative.")]


class InvalidClickCount(msgspec.Struct, kw_only=True):
    """Clicks on a package's click links that don't count, for one reason."""

    media_buy_id: Annotated[str, Meta(description="The media buy.")]
    package_id: Annotated[str, Meta(description="The package.")]
    reason: Annotated[str, Meta(description="For programs: why they don't count.")]
    count: Annotated[int, Meta(description="How many they are.")]


class ReportDetails(msgspec.Struct):
    """How far the numbers go, and what they leave out."""

    complete_through: Annotated[
        str | UnsetType, Meta(description=f"Everything received by this time is in the numbers: {TIME}")
    ] = UNSET
    left_out: Annotated[
        list[LeftOutAmount] | UnsetType, Meta(description="Amounts that the numbers leave out, and why.")
    ] = UNSET
    after_final: Annotated[
        list[AfterFinal] | UnsetType, Meta(description="Refunds that came after their package's numbers became final.")
    ] = UNSET
    invalid_clicks: Annotated[
        list[InvalidClickCount] | UnsetType, Meta(description="Clicks on click links that don't count, and why.")
    ] = UNSET


class ReportExt(msgspec.Struct):
    """``ext`` of the report."""

    postback: Annotated[ReportDetails, Meta(description="What Postback adds to AdCP's fields.")]


class DeliveryReport(msgspec.Struct, kw_only=True):
    """The report, without the envelope."""

    reporting_period: Annotated[ReportingPeriod, Meta(description="What it covers.")]
    currency: Annotated[
        str | UnsetType,
        Meta(
            description="ISO 4217 code of the newest media buy; XXX when there is nothing to report. In AdCP 3.2 it is "
            "that of every amount, and absent when media buys differ."
        ),
    ] = UNSET
    attribution_window: Annotated[Window, _WINDOW]
    aggregated_totals: Annotated[
        AggregatedTotals | UnsetType,
        Meta(description="The sum over media buys in this currency; absent without a currency."),
    ] = UNSET
    media_buy_deliveries: Annotated[list[MediaBuyDelivery], Meta(description="Newest media buy first.")]
    errors: Annotated[list[ErrorObject] | UnsetType, Meta(description="The media_buy_ids that are not yours.")] = UNSET
    sandbox: Annotated[bool | UnsetType, Meta(description="True: the accounts are sandboxes.")] = UNSET
    ext: Annotated[ReportExt | UnsetType, Meta(description="Extensions.")] = UNSET
