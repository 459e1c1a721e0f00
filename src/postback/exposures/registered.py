"""What is known at once of exposures and totals from the account's media buys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from postback.store.rows import Rows

__all__ = ["PackageCurrencies", "counted_warnings", "registration_warnings"]

_KIND = ["media_buy_id", "package_id", "currency", "amount"]

PackageCurrencies = Mapping[tuple[str, str], str]
"""(media_buy_id, package_id) of every package of an account → the currency of its media buy."""


def registration_warnings(
    money: Iterable[tuple[int, str, str, object, str]], registered: PackageCurrencies
) -> dict[str, list[int]]:
    """Code → the indexes of those that it is about.

    UNKNOWN_PACKAGE: no media buy of the account has the package. OTHER_CURRENCY: its amount is in another currency
    than the media buy, and counts 0.

    Args:
        money: Index, media_buy_id, package_id, amount and currency of each; an amount of 0 or None has no currency.
        registered: The account's packages.
    """
    found: dict[str, list[int]] = {}
    for index, media_buy_id, package_id, amount, currency in money:
        if code := _code(media_buy_id, package_id, amount, currency, registered):
            found.setdefault(code, []).append(index)
    return found


def counted_warnings(rows: Sequence[Rows], registered: PackageCurrencies) -> dict[str, int]:
    """The same for the rows of a large block of exposures: code → how many it is about.

    Args:
        rows: Rows of the table ``exposure``.
        registered: The account's packages.
    """
    counts: Counter[str] = Counter()
    for part in rows:
        amount = pc.not_equal(pc.fill_null(pa.array(part.columns["cost"], pa.decimal128(38, 9)), 0), 0)
        names = [pa.array(part.columns[name], pa.string()) for name in _KIND[:3]]
        kinds = pa.table([*names, amount], names=_KIND).group_by(_KIND).aggregate([([], "count_all")])
        for *kind, count in zip(*(kinds[name].to_pylist() for name in (*_KIND, "count_all")), strict=True):
            media_buy_id, package_id, currency, has_amount = kind
            if code := _code(media_buy_id, package_id, has_amount, currency, registered):
                counts[code] += count
    return dict(counts)


def _code(
    media_buy_id: str, package_id: str, amount: object, currency: str, registered: PackageCurrencies
) -> str | None:
    expected = registered.get((media_buy_id, package_id))
    if expected is None:
        return "UNKNOWN_PACKAGE"
    return "OTHER_CURRENCY" if amount and currency != expected else None
