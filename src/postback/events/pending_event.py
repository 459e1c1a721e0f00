"""An event on its way from the JSON that was sent to the columns that are stored."""

from __future__ import annotations

import msgspec

from postback.events.event import CustomData, DescribedEvent
from postback.protocol.strict_json import Json

__all__ = ["PendingEvent"]


class PendingEvent(msgspec.Struct, gc=False):
    """One decoded event, which the steps of validation (``events.steps``) fill in.

    Attributes:
        index: Its place in the batch.
        event: Its fields. Those of custom_data may contain personal data.
        custom_data: The fields of custom_data that the schemas know.
        custom_data_json: All of custom_data as canonical JSON; empty without any. Redacted, it is what is stored.
        extra: The fields that they don't know, with ``ext`` and ``surface``, as a JSON object; None without any.
        warnings: Codes of warnings, some with a subject: see ``events.warnings``.
        match_keys: What it can be matched by: see ``events.identifiers``.
        extra_json: ``extra`` as stored: JSON, or empty.
    """

    index: int
    event: DescribedEvent
    custom_data: CustomData | None
    custom_data_json: bytes
    extra: dict[str, Json] | None = None
    warnings: list[str] = []
    match_keys: bytes = b""
    extra_json: bytes = b""
