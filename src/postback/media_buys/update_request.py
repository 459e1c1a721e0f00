"""The request of update_media_buy (media-buy/update-media-buy-request.json, media-buy/package-update.json)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.accounts.references import AccountArgument
from postback.errors import ConflictingFields, InvalidRequest, RequestError, UnsupportedField
from postback.media_buys.create_request import PackageRequest, TotalBudget
from postback.media_buys.goals import EventGoal
from postback.products.product import Money
from postback.protocol.enums import Pacing
from postback.protocol.envelope import TIME
from postback.protocol.json_schema import documented

__all__ = ["PackageUpdate", "UpdateMediaBuyRequest", "unsupported_fields"]

_Reason = Annotated[str, Meta(max_length=500, description="Why it is canceled.")]
_Canceled = Annotated[bool, documented("True ends it for good.", const=True)]
_START = f'When it begins, as long as it has not: {TIME} Or "asap".'

_UNSUPPORTED = (
    "bidding",
    "budget_allocation",
    "budget_cap_timezone",
    "daily_budget_cap",
    "frequency_cap",
    "governance_context",
    "invoice_recipient",
)
_UNSERVED = frozenset(("artifact_webhook", "reporting_webhook"))
"""What AdCP lets a seller ignore: a call that asks for nothing else is accepted, and changes nothing."""

_UNSUPPORTED_OF_PACKAGE = (
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
    """The changes to a package; an absent field stays unchanged."""

    package_id: Annotated[str, Meta(description="A package of the media buy.")]
    budget: Annotated[Money, Meta(description="The most that it may spend.")] | UnsetType = UNSET
    bid_price: Annotated[Money, Meta(description="Bid, for a pricing option without a fixed price.")] | UnsetType = (
        UNSET
    )
    impressions: Annotated[Money, Meta(description="Impressions to reach.")] | UnsetType = UNSET
    pacing: Annotated[Pacing, Meta(description="How the budget is spread.")] | UnsetType = UNSET
    start_time: Annotated[str, documented(f"When it begins: {TIME}", format="date-time")] | UnsetType = UNSET
    end_time: Annotated[str, documented(f"When it ends: {TIME}", format="date-time")] | UnsetType = UNSET
    paused: Annotated[bool, Meta(description="Whether it is paused.")] | UnsetType = UNSET
    canceled: _Canceled | UnsetType = UNSET
    cancellation_reason: _Reason | None = None
    optimization_goals: (
        Annotated[
            tuple[EventGoal, ...], Meta(description="The conversions that count for it, instead of those that did.")
        ]
        | UnsetType
    ) = UNSET


class UpdateMediaBuyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The task's own arguments; an absent field stays unchanged."""

    media_buy_id: Annotated[str, Meta(description="The media buy.")]
    account: AccountArgument = None
    revision: (
        Annotated[int, Meta(ge=1, description="The revision you have read: refused if it has another by now.")] | None
    ) = None
    name: Annotated[str, Meta(pattern=r"\S", max_length=255, description="For people.")] | None = None
    paused: Annotated[bool, Meta(description="Whether it is paused.")] | None = None
    canceled: _Canceled | None = None
    cancellation_reason: _Reason | None = None
    start_time: Annotated[str, Meta(description=_START)] | None = None
    end_time: Annotated[str, documented(f"When it ends: {TIME}", format="date-time")] | None = None
    total_budget: Annotated[
        TotalBudget | None,
        Meta(description="The sum of all budgets after the change. Alone, it scales each package's budget."),
    ] = None
    packages: Annotated[tuple[PackageUpdate, ...], Meta(max_length=500, description="Changes of its packages.")] = ()
    new_packages: Annotated[tuple[PackageRequest, ...], Meta(max_length=500, description="Packages to add.")] = ()

    def errors(self) -> Iterator[RequestError]:
        """Errors in the call that don't depend on the media buy."""
        if self.canceled is False:
            yield InvalidRequest(
                "canceled must be true or omitted. A canceled media buy can't be reactivated.", field="canceled"
            )
        if self.canceled and (changed := _changed(self, _NO_CHANGE | {"canceled"})):
            yield ConflictingFields(
                f"The call cancels the media buy, so it must not send {changed[0]}.", field=changed[0]
            )
        ids = [package.package_id for package in self.packages]
        for index, package in enumerate(self.packages):
            if package.package_id in ids[:index]:
                field = f"packages[{index}].package_id"
                yield InvalidRequest("The call changes this package twice.", field=field)
            if package.canceled is False:
                field = f"packages[{index}].canceled"
                yield InvalidRequest(
                    "canceled must be true or omitted. A canceled package can't be reactivated.", field=field
                )
            if package.canceled is True and (changed := _changed(package, _NO_CHANGE | {"canceled"})):
                field = f"packages[{index}].{changed[0]}"
                yield ConflictingFields(f"The call cancels the package, so it must not send {changed[0]}.", field=field)

    def no_op_errors(self, sent: Collection[str]) -> Iterator[RequestError]:
        """An error for a no-op update: a call, or a package of it, that changes nothing, perhaps due to a typo.

        Args:
            sent: The names of the call's fields.
        """
        if not _changed(self, _NO_CHANGE) and _UNSERVED.isdisjoint(sent):
            yield InvalidRequest("The call changes nothing.", suggestion=f"Send at least one of {_CHANGES}.")
        for index, package in enumerate(self.packages):
            if not _changed(package, _NO_CHANGE):
                yield InvalidRequest(
                    f"packages[{index}] changes nothing.",
                    field=f"packages[{index}]",
                    suggestion=f"Send at least one of {_CHANGES_OF_PACKAGE}.",
                )


_NO_CHANGE = frozenset(("package_id", "media_buy_id", "account", "revision", "cancellation_reason"))
_CHANGES = ", ".join(name for name in UpdateMediaBuyRequest.__struct_fields__ if name not in _NO_CHANGE)
_CHANGES_OF_PACKAGE = ", ".join(name for name in PackageUpdate.__struct_fields__ if name not in _NO_CHANGE)


def _changed(update: msgspec.Struct, but: frozenset[str]) -> list[str]:
    """The fields that an update changes, except these."""
    unset = (UNSET, None, ())
    return [name for name in update.__struct_fields__ if name not in but and getattr(update, name) not in unset]


def unsupported_fields(fields: Mapping[str, object], packages: object) -> Iterator[RequestError]:
    """An error for each unsupported change, because ignoring it would surprise the buyer.

    Args:
        fields: The call's fields.
        packages: Its ``packages``, parsed.
    """
    sent = [name for name in (*_UNSUPPORTED, "pacing") if name in fields]
    for index, package in enumerate(packages if isinstance(packages, list) else ()):
        changes = package if isinstance(package, dict) else {}
        sent += [f"packages[{index}].{name}" for name in _UNSUPPORTED_OF_PACKAGE if changes.get(name) is not None]
    for field in sent:
        yield UnsupportedField(f"{field} can't be changed: this seller does not support it.", field=field)
