"""What is known at once of exposures is the same for a call and for a block of a file."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from postback.exposures.registered import counted_warnings, registration_warnings
from postback.store.rows import Rows

REGISTERED = {("mb_1", "p1"): "USD", ("mb_1", "p2"): "USD", ("mb_2", "p1"): "EUR"}
EXPOSURES = st.tuples(
    st.sampled_from(["mb_1", "mb_2", "mb_3"]),
    st.sampled_from(["p1", "p2"]),
    st.sampled_from([None, Decimal(0), Decimal("0.000000001"), Decimal("0.5")]),
    st.sampled_from(["USD", "EUR", ""]),
)


@given(st.lists(EXPOSURES, max_size=20), st.booleans())
def test_a_block_has_a_calls_warnings(exposures: list[tuple[str, str, Decimal | None, str]], as_arrays: bool) -> None:
    listed = registration_warnings(((index, *exposure) for index, exposure in enumerate(exposures)), REGISTERED)
    names = ("media_buy_id", "package_id", "cost", "currency")
    columns = {name: [exposure[place] for exposure in exposures] for place, name in enumerate(names)}
    if as_arrays:
        types = {name: pa.decimal128(38, 9) if name == "cost" else pa.string() for name in names}
        columns = {name: pa.array(values, types[name]) for name, values in columns.items()}

    counted = counted_warnings([Rows("exposure", columns)], REGISTERED)

    assert counted == {code: len(indexes) for code, indexes in listed.items()}


def test_an_amount_in_the_currency_of_its_media_buy_counts() -> None:
    money = [(0, "mb_1", "p1", Decimal(1), "USD"), (1, "mb_2", "p1", Decimal(1), "USD"), (2, "mb_9", "p1", None, "")]

    assert registration_warnings(money, REGISTERED) == {"OTHER_CURRENCY": [1], "UNKNOWN_PACKAGE": [2]}
