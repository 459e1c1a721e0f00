"""Why an event counts no value, or not all of it: the words that programs and people read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["NOT_COUNTED", "VALUE_REASONS"]

VALUE_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "OTHER_CURRENCY": "Its value is not counted, because it is not in the media buy's currency. Amounts are never "
        "converted.",
        "NO_CURRENCY": "Its value is not counted, because it has no currency. Send custom_data.currency with every "
        "value.",
        "NO_VALUE_FIELD": "No value is counted, because custom_data lacks the field that the goal names in "
        "value_field.",
        "NOT_A_NUMBER": "No value is counted, because the field that the goal names in value_field is not a number "
        "below 10^15. Send it as a JSON number, for example 12.50 without quotes.",
        "NEGATIVE": "Its value is not counted, because it is negative. Send a refund as an event of the type refund "
        "with a positive value.",
        "ZERO_FACTOR": "No value is counted, because the goal's value_factor is 0.",
        "EXCEEDS_PURCHASE": "Only what was left of the purchase is subtracted: its refunds together exceed its value.",
        "PURCHASE_NOT_ATTRIBUTED": "It subtracts nothing, because the purchase that it undoes is not attributed to any "
        "package.",
        "REFUND_NOT_NAMED": "It subtracts nothing, because no goal of the package that counts the purchase names "
        "refunds of this source. Add its event_type and event_source_id to the goal's event_sources.",
        "SETTLED": "It counts in no package: it, or the same event from another source, is so old that the results of "
        "its time are settled. Send events sooner.",
        "FINAL": "It came after the numbers of the package became final, so it changes nothing. The delivery report "
        "counts it in ext.postback.after_final.",
    }
)
"""Reason → what it means. Source: docs/explanation/attribution, "What counts 0"."""

NOT_COUNTED = ("PURCHASE_NOT_ATTRIBUTED", "REFUND_NOT_NAMED", "FINAL", "SETTLED")
"""Reasons for which an event counts in no package."""
