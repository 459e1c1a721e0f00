"""The rules of a run, in the tables that its statements join with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from postback.attribution.matching import Windows
from postback.attribution.rules import AccountRules, GoalOption, SiblingSet, longest_windows
from postback.attribution.statements import DerivedStore

__all__ = ["RUN_TABLES", "replace_scratch", "stage_rules", "stage_sibling_sets"]

_RULE_TABLES = ("run_event_kind", "run_field", "run_near", "run_package", "run_frozen")
RUN_TABLES = (
    "run_exposure",
    "run_repeated_exposure",
    "run_known_exposure",
    "run_new",
    "run_target",
    "run_previous_outcome",
    "run_event",
    "run_business",
    "run_sibling_set",
    "run_rule",
    "run_match",
    "run_choice",
    "run_worth",
    "run_result",
    "run_outcome",
)
"""The tables that a run fills, and that are empty for the next one."""

_OPTION = pa.struct(
    [
        ("goal", pa.uint16()),
        ("source_rank", pa.uint16()),
        ("lead", pa.uint16()),
        ("click_us", pa.int64()),
        ("view_us", pa.int64()),
        ("valued", pa.uint16()),
        ("field", pa.uint16()),
        ("factor", pa.decimal128(38, 18)),
        ("refund", pa.bool_()),
    ]
)
_ROLE = pa.struct([("role", pa.uint32()), ("sibling", pa.uint16())])
_SHAPES: Mapping[str, Mapping[str, pa.DataType]] = {
    "run_event_kind": {"event_kind": pa.uint32(), "name": pa.string(), "linked": pa.string()},
    "run_field": {"field": pa.uint16(), "name": pa.string()},
    "run_near": {"event_source_id": pa.string(), "near": pa.list_(pa.string())},
    "run_package": {"media_buy_id": pa.string(), "package_id": pa.string(), "rule_set": pa.uint32()},
    "run_frozen": {
        "media_buy_id": pa.string(),
        "package_id": pa.string(),
        "finalized_at": pa.timestamp("us", tz="UTC"),
        "rule_set": pa.uint32(),
    },
    "run_sibling_set": {
        "sibling_set": pa.uint32(),
        "kinds": pa.list_(pa.uint32()),
        "may_refund": pa.bool_(),
        "roles": pa.list_(_ROLE),
    },
    "run_rule": {
        "sibling_set": pa.uint32(),
        "rule_set": pa.uint32(),
        "currency": pa.string(),
        "goal_options": pa.list_(_OPTION),
    },
}


def replace_scratch(derived: DerivedStore) -> None:
    """Replace the in-memory tables of runs, and the view that they read events through, by those of this code."""
    for name in (*_RULE_TABLES, *RUN_TABLES, "named_event"):
        derived.replace(name)


def stage_rules(derived: DerivedStore, rules: AccountRules) -> None:
    """Fill the tables of rules that hold for every event of a run."""
    kinds = ((n, kind.name, _label(rules.linked[kind])) for n, kind in enumerate(rules.kinds, 1))
    _fill(derived, "run_event_kind", kinds)
    _fill(derived, "run_field", enumerate(rules.fields, 1))
    _fill(derived, "run_near", rules.near.items() if rules.refund_types else ())
    _fill(derived, "run_package", ((*key, number) for key, number in rules.packages.items()))
    _fill(derived, "run_frozen", ((*key, *final) for key, final in rules.frozen.items()))


def _label(linked: Sequence[str]) -> str:
    """What the event kinds of linked sources have in common; empty for a source that is linked with none."""
    return "\n".join(linked) if len(linked) > 1 else ""


def stage_sibling_sets(derived: DerivedStore, rules: AccountRules, several: Iterable[tuple[int, ...]]) -> Windows:
    """Fill the tables of rules by sibling set; returns the windows of each role.

    Args:
        derived: Where the tables are.
        rules: The account's.
        several: The numbers of the event kinds of each sibling set with more than one; those with one are always
            there, each under the number of its event kind, which is its role too.
    """
    numbered = [(n,) for n in range(1, len(rules.kinds) + 1)] + sorted(several)
    fields = {"": 0} | {name: number for number, name in enumerate(rules.fields, 1)}
    sets: list[Any] = []
    windows: list[list[tuple[int, int]]] = []
    options: list[Any] = []
    for set_number, kinds in enumerate(numbered, 1):
        siblings: SiblingSet = tuple(rules.kinds[number - 1] for number in kinds)
        by_rules = [rule_set.options(siblings) for rule_set in rules.rule_sets]
        leads = sorted({option.lead for found in by_rules for option in found} | ({1} if len(kinds) == 1 else set()))
        role_numbers = {lead: len(windows) + n for n, lead in enumerate(leads, 1)}
        sets.append((set_number, kinds, rules.may_refund(siblings), [_role(r, s) for s, r in role_numbers.items()]))
        windows.extend([longest_windows(found, lead) for found in by_rules] for lead in leads)
        options.extend(
            (set_number, n, rules.rule_sets[n - 1].currency, [_option(option, fields) for option in found])
            for n, found in enumerate(by_rules, 1)
        )
    _fill(derived, "run_sibling_set", sets)
    _fill(derived, "run_rule", options)
    return Windows(*np.array(windows, np.int64).reshape(len(windows), len(rules.rule_sets), 2).transpose(2, 0, 1)[::-1])


def _role(role: int, sibling: int) -> dict[str, int]:
    return {"role": role, "sibling": sibling}


_FACTORS = Context(prec=60)
"""A factor has more digits than Python's context for decimals has by default."""


def _option(option: GoalOption, fields: Mapping[str, int]) -> dict[str, Any]:
    values = option._asdict() | {"factor": _FACTORS.quantize(option.factor, Decimal("1e-18"))}
    return values | {"field": fields[values.pop("value_field")]}


def _fill(derived: DerivedStore, table: str, rows: Iterable[Sequence[Any]]) -> None:
    shape = _SHAPES[table]
    columns: Iterator[tuple[Any, ...]] = zip(*rows, strict=True)
    arrays = {name: pa.array(column, kind) for (name, kind), column in zip(shape.items(), columns, strict=False)}
    derived.fill(table, pa.table(arrays or {name: pa.array([], kind) for name, kind in shape.items()}))
