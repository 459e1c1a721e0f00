"""The events as Pydantic models that check what Postback checks of them: types, enumerations, bounds, times, hashes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from postback.protocol.currencies import CURRENCIES
from postback.protocol.enums import ACTION_SOURCES, EVENT_TYPES, UID_TYPES

__all__ = ["Event", "Failure", "LogEvent"]

_FUTURE = timedelta(minutes=10)
_PAST = timedelta(days=90)
_MAX_EVENTS = 10_000

_Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=256)]


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("is not an ISO 4217 currency code")
    return code


def _recent(at: datetime) -> datetime:
    now = datetime.now(UTC)
    if not now - _PAST < at < now + _FUTURE:
        raise ValueError("must be within the last 90 days")
    return at


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Uid(_Model):
    """One universal ID."""

    type: Literal[UID_TYPES]  # type: ignore[valid-type] # a tuple of its words
    value: _Text


class UserMatch(_Model):
    """The identifiers of the person behind an event."""

    uids: Annotated[list[Uid], Field(min_length=1)] | None = None
    hashed_email: _Sha256 | None = None
    hashed_phone: _Sha256 | None = None
    click_id: _Text | None = None
    click_id_type: _Text | None = None
    client_ip: Annotated[str, StringConstraints(pattern="^[0-9a-fA-F:.]{2,45}$")] | None = None
    client_user_agent: Annotated[str, StringConstraints(max_length=2048)] | None = None

    @model_validator(mode="after")
    def _identifies(self) -> UserMatch:
        browser = self.client_ip and self.client_user_agent
        if not (self.uids or self.hashed_email or self.hashed_phone or self.click_id or browser):
            raise ValueError("needs at least one identifier")
        return self


class CustomData(BaseModel):
    """What an event was worth; further fields are kept."""

    model_config = ConfigDict(extra="allow", strict=True)

    value: Annotated[float, Field(ge=0, lt=1e15)] | None = None
    currency: Annotated[str, AfterValidator(_currency)] | None = None
    order_id: str | None = None
    content_ids: list[str] | None = None
    num_items: Annotated[int, Field(ge=0)] | None = None


class Event(_Model):
    """One event."""

    event_id: _Text
    event_type: Literal[EVENT_TYPES]  # type: ignore[valid-type]
    event_time: Annotated[AwareDatetime, Field(strict=False), AfterValidator(_recent)]
    user_match: UserMatch | None = None
    custom_data: CustomData | None = None
    action_source: Literal[ACTION_SOURCES] | None = None  # type: ignore[valid-type]
    event_source_url: Annotated[str, StringConstraints(pattern="^https?://", max_length=2048)] | None = None
    custom_event_name: _Text | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """An event that is not valid, and why: AdCP's partial_failures."""

    errors: str


def _event_or_failure(event: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """One bad event must not fail the rest of its call."""
    try:
        return validate(event)
    except ValidationError as error:
        return Failure(error.json(include_input=False, include_url=False))


class LogEvent(BaseModel):
    """A call; fields that it doesn't name are ignored."""

    adcp_version: str | None = None
    idempotency_key: Annotated[str, StringConstraints(min_length=16, max_length=255)]
    event_source_id: _Text
    events: Annotated[
        list[Annotated[Event, WrapValidator(_event_or_failure)]], Field(min_length=1, max_length=_MAX_EVENTS)
    ]
