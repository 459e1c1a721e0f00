"""Media buys as responses show them.

AdCP 3.0 has one ``status`` at the root, which for create_media_buy is the media buy's. From 3.1 on it is the task's,
and the media buy's stands in ``media_buy_status``. A caller that pins no release gets the newer shape, valid in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.event_sources.offline import OfflineSource
from postback.event_sources.rhythms import SourceKey
from postback.media_buys.actions import available_actions, valid_actions
from postback.media_buys.goals import EventGoal
from postback.media_buys.impairments import Impairment, impairments_of
from postback.media_buys.media_buy import MediaBuy, Package
from postback.protocol.enums import MediaBuyStatus, Pacing, released_event_types
from postback.protocol.envelope import TIME
from postback.protocol.json_schema import documented, word
from postback.protocol.release_features import has_available_actions, has_impairments, has_one_status
from postback.protocol.releases import Release
from postback.protocol.timestamps import rfc3339

__all__ = ["CreatedMediaBuy", "ListedMediaBuy", "UpdatedMediaBuy", "created", "listed", "updated"]

_Sandbox = Annotated[bool | UnsetType, Meta(description="True: the account is a sandbox.")]
_Status = Annotated[
    str | UnsetType,
    word(
        ("completed", *get_args(MediaBuyStatus)),
        "The task's; in AdCP 3.0 the media buy's, as media_buy_status in every release.",
    ),
]


class Cancellation(msgspec.Struct):
    """Who ended a media buy or a package, and when."""

    canceled_at: Annotated[str, documented(TIME, format="date-time")]
    canceled_by: Annotated[Literal["buyer"], Meta(description="Who ended it.")]
    reason: Annotated[str | UnsetType, Meta(description="Why, in the buyer's words.")] = UNSET


class AvailableAction(msgspec.Struct):
    """core/media-buy-available-action.json: needs no approval."""

    action: Annotated[str, Meta(description="What update_media_buy does.")]
    mode: Annotated[Literal["self_serve"], Meta(description="It happens at once.")]


class ShownPackage(msgspec.Struct, kw_only=True):
    """A package (core/package.json)."""

    package_id: Annotated[str, Meta(description="Unique in the buy.")]
    product_id: Annotated[str | UnsetType, Meta(description="What is bought.")] = UNSET
    pricing_option_id: Annotated[str | UnsetType, Meta(description="How it is paid for.")] = UNSET
    budget: Annotated[float, Meta(ge=0, description="The most that it may spend.")]
    paused: Annotated[bool, Meta(description="Whether it is paused.")]
    bid_price: Annotated[float | UnsetType, Meta(description="The bid.")] = UNSET
    impressions: Annotated[float | UnsetType, Meta(description="Impressions to reach.")] = UNSET
    pacing: Annotated[Pacing | UnsetType, Meta(description="How the budget is spread.")] = UNSET
    start_time: Annotated[str, documented(TIME, format="date-time")] | UnsetType = UNSET
    end_time: Annotated[str, documented(TIME, format="date-time")] | UnsetType = UNSET
    optimization_goals: Annotated[
        tuple[EventGoal, ...] | UnsetType, Meta(description="As they were set, with the windows that apply.")
    ] = UNSET
    context: Annotated[dict[str, Any] | UnsetType, Meta(description="The buyer's own, unchanged.")] = UNSET
    canceled: Annotated[bool | UnsetType, Meta(description="True: it has ended for good.")] = UNSET
    cancellation: Annotated[Cancellation | UnsetType, Meta(description="How it ended.")] = UNSET


class _MediaBuyFields(msgspec.Struct, kw_only=True):
    """The fields of a media buy in every response about it."""

    media_buy_id: Annotated[str, Meta(description="Names it from now on.")]
    name: Annotated[str | UnsetType, Meta(description="For people.")] = UNSET
    currency: Annotated[str, documented("ISO 4217 code of all amounts.", pattern="^[A-Z]{3}$")]
    total_budget: Annotated[float, Meta(ge=0, description="Sum of the packages' budgets.")]
    revision: Annotated[int, Meta(ge=1, description="Grows with every change.")]
    valid_actions: Annotated[list[str], Meta(description="What can be done with it now.")]
    available_actions: Annotated[
        list[AvailableAction] | UnsetType, Meta(description="The same, action by action; not in AdCP 3.0.")
    ] = UNSET


class ListedMediaBuy(_MediaBuyFields, kw_only=True):
    """An entry of media-buy/get-media-buys-response.json."""

    status: Annotated[MediaBuyStatus, Meta(description="How it stands.")]
    health: Annotated[
        Literal["ok", "impaired"] | UnsetType,
        Meta(description="impaired while an event source is offline that its goals name; not in AdCP 3.0."),
    ] = UNSET
    impairments: Annotated[
        list[Impairment] | UnsetType, Meta(description="What impairs it, oldest first; not in AdCP 3.0.")
    ] = UNSET
    confirmed_at: Annotated[str, documented("When the seller committed to it.", format="date-time")]
    packages: Annotated[list[ShownPackage], Meta(description="Its packages, in the order they were bought.")]
    start_time: Annotated[str, documented("When it begins.", format="date-time")]
    end_time: Annotated[str, documented("When it ends.", format="date-time")]
    created_at: Annotated[str, documented("When it was created.", format="date-time")]
    context: Annotated[dict[str, Any] | UnsetType, Meta(description="The buyer's own, unchanged.")] = UNSET
    cancellation: Annotated[Cancellation | UnsetType, Meta(description="How it ended.")] = UNSET


class CreatedMediaBuy(_MediaBuyFields, kw_only=True):
    """The success arm of media-buy/create-media-buy-response.json, without the envelope."""

    status: _Status = UNSET
    media_buy_status: Annotated[MediaBuyStatus, Meta(description="How the media buy stands.")]
    confirmed_at: Annotated[str, documented("When the seller committed to it.", format="date-time")]
    packages: Annotated[list[ShownPackage], Meta(description="Its packages, in the order of the request.")]
    sandbox: _Sandbox = UNSET


class UpdatedMediaBuy(_MediaBuyFields, kw_only=True):
    """The success arm of media-buy/update-media-buy-response.json, without the envelope."""

    status: _Status = UNSET
    media_buy_status: Annotated[MediaBuyStatus, Meta(description="How the media buy stands.")]
    implementation_date: Annotated[str, documented("When the change took effect.", format="date-time")]
    affected_packages: Annotated[list[ShownPackage], Meta(description="The packages that were changed or added.")]
    sandbox: _Sandbox = UNSET


def created(buy: MediaBuy, release: Release | None, *, sandbox: bool) -> CreatedMediaBuy:
    """A media buy that was just created."""
    return CreatedMediaBuy(
        **_fields(buy, release),
        status=buy.status if has_one_status(release) else UNSET,
        media_buy_status=buy.status,
        confirmed_at=rfc3339(buy.created_at),
        packages=[_package(package, release) for package in buy.packages],
        sandbox=sandbox or UNSET,
    )


def updated(buy: MediaBuy, affected: Sequence[Package], release: Release | None, *, sandbox: bool) -> UpdatedMediaBuy:
    """A media buy that was just changed, and the packages that were changed with it."""
    return UpdatedMediaBuy(
        **_fields(buy, release),
        status=buy.status if has_one_status(release) else UNSET,
        media_buy_status=buy.status,
        implementation_date=rfc3339(datetime.now(UTC)),
        affected_packages=[_package(package, release) for package in affected],
        sandbox=sandbox or UNSET,
    )


def listed(buy: MediaBuy, release: Release | None, offline: Mapping[SourceKey, OfflineSource]) -> ListedMediaBuy:
    """A media buy among others; ``offline`` are the event sources that are."""
    impairments = impairments_of(buy, offline) if has_impairments(release) else None
    return ListedMediaBuy(
        **_fields(buy, release),
        status=buy.status,
        health=UNSET if impairments is None else "impaired" if impairments else "ok",
        impairments=UNSET if impairments is None else impairments,
        confirmed_at=rfc3339(buy.created_at),
        packages=[_package(package, release) for package in buy.packages],
        start_time=rfc3339(buy.start_at),
        end_time=rfc3339(buy.end_at),
        created_at=rfc3339(buy.created_at),
        context=UNSET if buy.context is None else buy.context,
        cancellation=_cancellation(buy.canceled_at, buy.cancellation_reason),
    )


def _fields(buy: MediaBuy, release: Release | None) -> dict[str, Any]:
    return {
        "media_buy_id": buy.media_buy_id,
        "name": buy.name or UNSET,
        "currency": buy.currency,
        "total_budget": buy.total_budget,
        "revision": buy.revision,
        "valid_actions": valid_actions(buy, release),
        "available_actions": (
            [AvailableAction(action, "self_serve") for action in available_actions(buy, release)]
            if has_available_actions(release)
            else UNSET
        ),
    }


def _goals(goals: Sequence[EventGoal], release: Release | None) -> Iterator[EventGoal]:
    """The goals, without the event types that the caller's release doesn't have."""
    known = released_event_types(release)
    for goal in goals:
        shown = tuple(source for source in goal.event_sources or () if source.event_type in known)
        if goal.kind != "event":
            yield goal
        elif shown:
            yield msgspec.structs.replace(goal, event_sources=shown)


def _package(package: Package, release: Release | None) -> ShownPackage:
    return ShownPackage(
        package_id=package.package_id,
        product_id=package.product_id or UNSET,  # a sandbox seeds some without one
        pricing_option_id=package.pricing_option_id or UNSET,
        budget=package.budget,
        paused=package.paused,
        bid_price=UNSET if package.bid_price is None else package.bid_price,
        impressions=UNSET if package.impressions is None else package.impressions,
        pacing=package.pacing or UNSET,
        start_time=rfc3339(package.start_at) if package.start_at else UNSET,
        end_time=rfc3339(package.end_at) if package.end_at else UNSET,
        optimization_goals=tuple(_goals(package.goals, release)) or UNSET,
        context=UNSET if package.context is None else package.context,
        canceled=package.canceled_at is not None or UNSET,
        cancellation=_cancellation(package.canceled_at, package.cancellation_reason),
    )


def _cancellation(canceled_at: datetime | None, reason: str | None) -> Cancellation | UnsetType:
    return Cancellation(rfc3339(canceled_at), "buyer", reason or UNSET) if canceled_at else UNSET
