"""The arguments of update_media_buy (media-buy/update-media-buy-request.json, media-buy/package-update.json)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.errors import Contradiction, InvalidRequest, RequestError, UnsupportedMember
from postback.media_buys.budgets import Money
from postback.media_buys.goals import EventGoal
from postback.media_buys.request import PackageRequest, TotalBudget
from postback.protocol.enums import Pacing

__all__ = ["PackageUpdate", "UpdateMediaBuyRequest", "unfollowed"]

_Reason = Annotated[str, Meta(max_length=500)]

_UNFOLLOWED = (
    "bidding",
    "budget_allocation",
    "budget_cap_timezone",
    "daily_budget_cap",
    "frequency_cap",
    "governance_context",
    "invoice_recipient",
    "reporting_webhook",
)
_UNFOLLOWED_OF_PACKAGE = (
    "bidding",
    "catalogs",
    "creative_assignments",
    "creatives",
    "daily_budget_cap",
    "keyword_targets_add",
    "keyword_targets_remove",
    "min_spend_target",
    "negative_keywords_add",
    "negative_keywords_remove",
    "targeting_overlay",
)


class PackageUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What changes of a package; an absent member stays as it is."""

    package_id: str
    budget: Money | UnsetType = UNSET
    bid_price: Money | UnsetType = UNSET
    impressions: Money | UnsetType = UNSET
    pacing: Pacing | UnsetType = UNSET
    start_time: str | UnsetType = UNSET
    end_time: str | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    canceled: bool | UnsetType = UNSET
    cancellation_reason: _Reason | None = None
    optimization_goals: tuple[EventGoal, ...] | UnsetType = UNSET


class UpdateMediaBuyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The task's own arguments; an absent member stays as it is.

    Attributes:
        media_buy_id: The media buy.
        account: core/account-ref.json; None when the key acts for one account.
        revision: The revision that the caller has read; None changes whichever there is.
        name: For people.
        paused: Whether it is held.
        canceled: True ends it for good.
        cancellation_reason: Why.
        start_time: When it begins, or "asap".
        end_time: When it ends.
        total_budget: The sum of the packages' budgets after the change; alone, it scales them all.
        packages: Changes of packages.
        new_packages: Packages to add.
    """

    media_buy_id: str
    account: Any = None
    revision: Annotated[int, Meta(ge=1)] | None = None
    name: Annotated[str, Meta(pattern=r"\S", max_length=255)] | None = None
    paused: bool | None = None
    canceled: bool | None = None
    cancellation_reason: _Reason | None = None
    start_time: str | None = None
    end_time: str | None = None
    total_budget: TotalBudget | None = None
    packages: Annotated[tuple[PackageUpdate, ...], Meta(max_length=500)] = ()
    new_packages: Annotated[tuple[PackageRequest, ...], Meta(max_length=500)] = ()

    def problems(self) -> Iterator[RequestError]:
        """What is wrong with the call, whatever the media buy is."""
        if self.canceled is False:
            yield InvalidRequest(
                "canceled can only be true: a canceled media buy can't be taken up again.", field="canceled"
            )
        if self.canceled and (changed := _changed(self, _NO_CHANGE | {"canceled"})):
            yield Contradiction(f"The call cancels the media buy and changes its {changed[0]}.", field=changed[0])
        ids = [package.package_id for package in self.packages]
        for index, package in enumerate(self.packages):
            if package.package_id in ids[:index]:
                field = f"packages[{index}].package_id"
                yield InvalidRequest("The call changes this package twice.", field=field)
            if package.canceled is False:
                field = f"packages[{index}].canceled"
                yield InvalidRequest("canceled can only be true: a canceled package stays canceled.", field=field)
            if package.canceled is True and (changed := _changed(package, _NO_CHANGE | {"canceled"})):
                field = f"packages[{index}].{changed[0]}"
                yield Contradiction(f"The call cancels the package and changes its {changed[0]}.", field=field)

    def idle(self) -> Iterator[RequestError]:
        """An error for the call, or a package of it, that names nothing to change: a misspelt member, say."""
        if not _changed(self, _NO_CHANGE):
            yield InvalidRequest("The call changes nothing.", suggestion=f"Name what changes: {_CHANGES}.")
        for index, package in enumerate(self.packages):
            if not _changed(package, _NO_CHANGE):
                yield InvalidRequest(
                    f"packages[{index}] changes nothing.",
                    field=f"packages[{index}]",
                    suggestion=f"Name what changes: {_CHANGES_OF_PACKAGE}.",
                )


_NO_CHANGE = frozenset(("package_id", "media_buy_id", "account", "revision", "cancellation_reason"))
_CHANGES = ", ".join(name for name in UpdateMediaBuyRequest.__struct_fields__ if name not in _NO_CHANGE)
_CHANGES_OF_PACKAGE = ", ".join(name for name in PackageUpdate.__struct_fields__ if name not in _NO_CHANGE)


def _changed(update: msgspec.Struct, but: frozenset[str]) -> list[str]:
    """The members that an update changes, but for these."""
    unset = (UNSET, None, ())
    return [name for name in update.__struct_fields__ if name not in but and getattr(update, name) not in unset]


def unfollowed(members: Mapping[str, object], packages: object) -> Iterator[RequestError]:
    """An error for each change that is asked for and can't be made: it is refused, not passed over.

    Args:
        members: The call's members.
        packages: The same of ``packages``, parsed.
    """
    named = [name for name in (*_UNFOLLOWED, "pacing") if name in members]
    for index, package in enumerate(packages if isinstance(packages, list) else ()):
        asked = package if isinstance(package, dict) else {}
        named += [f"packages[{index}].{name}" for name in _UNFOLLOWED_OF_PACKAGE if asked.get(name) is not None]
    for field in named:
        yield UnsupportedMember(f"{field} can't be changed here.", field=field)
