"""The rules of a run as the tables that its statements join with."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

import pyarrow as pa

from postback.attribution.rules import Option, Rules
from postback.store.derived import DerivedStore

__all__ = ["SCRATCH_TABLES", "stage_rules"]

SCRATCH_TABLES = (
    "run_exposure",
    "run_known_exposure",
    "run_new",
    "run_target",
    "run_prior",
    "run_event",
    "run_key",
    "run_match",
    "run_outcome",
)
"""The tables that a run fills and that the next one finds empty."""

_OPTION = pa.struct(
    [
        ("goal", pa.uint16()),
        ("source_rank", pa.uint16()),
        ("click_us", pa.int64()),
        ("view_us", pa.int64()),
        ("field", pa.uint16()),
        ("factor", pa.decimal128(38, 18)),
        ("refund", pa.bool_()),
    ]
)


def stage_rules(derived: DerivedStore, rules: Rules) -> None:
    """Put an account's rules where the statements of a run find them."""
    derived.fill("run_kind", _numbered("kind", pa.uint32(), [kind.name for kind in rules.kinds]))
    derived.fill("run_field", _numbered("field", pa.uint16(), rules.fields))
    derived.fill("run_package", _packages(rules))
    derived.fill("run_frozen", _frozen(rules))
    derived.fill("run_rule", _rules(rules))


def _numbered(number: str, kind: pa.DataType, names: Any) -> pa.Table:
    return pa.table({number: pa.array(range(1, len(names) + 1), kind), "name": pa.array(list(names), pa.string())})


def _packages(rules: Rules) -> pa.Table:
    return pa.table(
        {
            "media_buy_id": pa.array([key[0] for key in rules.packages], pa.string()),
            "package_id": pa.array([key[1] for key in rules.packages], pa.string()),
            "class": pa.array(list(rules.packages.values()), pa.uint32()),
        }
    )


def _frozen(rules: Rules) -> pa.Table:
    return pa.table(
        {
            "media_buy_id": pa.array([key[0] for key in rules.frozen], pa.string()),
            "package_id": pa.array([key[1] for key in rules.frozen], pa.string()),
            "finalized_at": pa.array(list(rules.frozen.values()), pa.timestamp("us", tz="UTC")),
        }
    )


def _rules(rules: Rules) -> pa.Table:
    """A row for every kind and class, so that a row's place can be computed from its numbers."""
    fields = {"": 0} | {name: number for number, name in enumerate(rules.fields, 1)}
    shape = {
        "kind": pa.uint32(),
        "class": pa.uint32(),
        "currency": pa.string(),
        "click_us": pa.int64(),
        "view_us": pa.int64(),
        "options": pa.list_(_OPTION),
    }
    columns: dict[str, list[Any]] = {name: [] for name in shape}
    for kind_number, kind in enumerate(rules.kinds, 1):
        for class_number, (currency, said) in enumerate(rules.classes, 1):
            options = said.get(kind, ())
            columns["kind"].append(kind_number)
            columns["class"].append(class_number)
            columns["currency"].append(currency)
            columns["click_us"].append(max((option.click_us for option in options), default=-1))
            columns["view_us"].append(max((option.view_us for option in options), default=-1))
            columns["options"].append([_option(option, fields) for option in options])
    return pa.table({name: pa.array(columns[name], kind) for name, kind in shape.items()})


_FACTORS = Context(prec=60)
"""A factor has more digits than Python's context for decimals has by default."""


def _option(option: Option, fields: dict[str, int]) -> dict[str, Any]:
    return {
        "goal": option.goal,
        "source_rank": option.source_rank,
        "click_us": option.click_us,
        "view_us": option.view_us,
        "field": fields[option.value_field],
        "factor": _FACTORS.quantize(option.factor, Decimal("1e-18")),
        "refund": option.refund,
    }
