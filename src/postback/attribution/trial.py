"""What a test event would be attributed to if it were live: chosen as a run chooses, and stored nowhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa

from postback.attribution.explain import StoredOutcome
from postback.attribution.exposure_index import ExposureView
from postback.attribution.matching import EventKeys, Windows, match
from postback.attribution.rules import AccountRules, EventKind, longest_windows
from postback.protocol.timestamps import micros

__all__ = ["outcome_if_live"]


def outcome_if_live(
    rules: AccountRules, kind: EventKind, exposures: ExposureView, match_keys: Iterable[bytes], moment: datetime
) -> StoredOutcome | None:
    """The outcome of an event that came alone, without what its value counts for; None if no exposure qualifies.

    Args:
        rules: The account's.
        kind: The event's.
        exposures: The account's.
        match_keys: The event's.
        moment: When it happened.
    """
    keys = sorted(set(match_keys))
    options = [rule_set.options((kind,)) for rule_set in rules.rule_sets]
    longest = np.array([[longest_windows(found, lead=1) for found in options]], np.int64).reshape(1, len(options), 2)
    rows = pa.table(
        {
            "match_key": pa.array(keys, pa.binary(16)),
            "number": pa.array([0] * len(keys), pa.uint64()),
            "role": pa.array([1] * len(keys), pa.uint32()),
            "at": pa.array([micros(moment)] * len(keys), pa.int64()),
        }
    )
    windows = Windows(view=longest[:, :, 1], click=longest[:, :, 0])
    found = match(EventKeys(rows), exposures, rules.packages, windows).to_pylist()
    if not found:
        return None
    [exposure] = found
    lag = micros(moment) - micros(exposure["exposure_at"])
    option = next(
        option
        for option in options[exposure["rule_set"] - 1]
        if lag <= (option.click_us if exposure["exposure_kind"] == "click" else option.view_us)
    )
    return StoredOutcome(
        run_id=0,
        media_buy_id=exposure["media_buy_id"],
        package_id=exposure["package_id"],
        goal=option.goal,
        exposure_id=exposure["exposure_id"],
        exposure_kind=exposure["exposure_kind"],
        exposure_at=exposure["exposure_at"],
        creative_id=exposure["creative_id"],
        match_kind=exposure["match_kind"],
        counted=True,
        conversions=1,
        value=Decimal(),
        lead_source_id="",
        value_reason="",
        left_out=Decimal(),
        left_out_currency="",
        purchase_source_id="",
        purchase_type="",
        purchase_id="",
    )
