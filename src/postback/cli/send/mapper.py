"""Rows of a table as events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from postback.cli.send.cells import Amounts, Hasher, Times, check_hashed
from postback.cli.send.mapping import FIELDS, IDENTIFIERS, REQUIRED, ColumnMapping, check_field
from postback.errors import StartupError
from postback.events.event import Event
from postback.events.rejection import Rejection
from postback.protocol.strict_json import UNREADABLE

__all__ = ["RowMapper", "read_record"]

_AMOUNTS = ("custom_data.value", "custom_data.progress_percent", "custom_data.progress_seconds")
_LISTS = ("custom_data.content_ids",)
_UID = "user_match.uid."
_NUMBER = ":number"
_EVENT_FIELDS = frozenset(Event.__struct_fields__)

_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode

Row = Mapping[str, Any]
"""A row by the names of its columns: text, or the values of a JSON object."""

Reader = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class _Step:
    """One field of an event: the column that has it, and how its text is read."""

    field: str
    column: str
    read: Reader
    hashes: bool = False


class RowMapper:
    """Makes events of rows.

    Args:
        mapping: Which column is which field.
        columns: The columns of a table; None for JSON, where each record names its own fields.
        label: What messages call the file.
        describe: The columns in a sentence, for messages.

    Attributes:
        mapping: The mapping, completed from the names of the columns.
        times, hasher: What they have counted so far.
        skipped: How many rows were no events, by the name of the option that says so.

    Raises:
        StartupError: A column or field doesn't exist, or one that every event needs is nowhere.
    """

    def __init__(self, mapping: ColumnMapping, columns: Sequence[str] | None, label: str, describe: str) -> None:
        for field in mapping.map:
            check_field(field, "--map")
        for field in mapping.set:
            check_field(field, "--set")
        self.mapping = _completed(mapping, columns)
        if columns is not None:
            _require(self.mapping, label, describe)
        self._amounts = Amounts(mapping.decimal)
        self.times = Times(mapping.timezone, tuple(mapping.time_format))
        self.hasher = Hasher(mapping.country)
        self.skipped: Counter[str] = Counter()
        self._from_json = columns is None
        self._where = {name: {value.casefold() for value in values} for name, values in self.mapping.where.items()}
        self._steps = self._made_steps()
        self._constants = [
            (field.removesuffix(_NUMBER), _constant(self._reader(field, Amounts(".")), text))
            for field, text in self.mapping.set.items()
        ]
        self._last_order: str | None = None

    @property
    def columns(self) -> list[str]:
        """The columns that are needed."""
        mapping = self.mapping
        named = [*mapping.map.values(), *mapping.hash.values(), *mapping.where]
        return list(dict.fromkeys([*named, *([mapping.one_per] if mapping.one_per else [])]))

    def event(self, row: Row) -> bytes | None:
        """The event of a row, as JSON; None if the row is no event.

        Raises:
            Rejection: A cell can't be read.
        """
        if self._is_skipped(row):
            return None
        event = {name: value for name, value in row.items() if name in _EVENT_FIELDS} if self._from_json else {}
        for field, value in self._constants:
            _put(event, field, value)
        for step in self._steps:
            text = _text(row, step.column)
            if text or step.hashes:
                _put(event, step.field, step.read(text))
        return _encode(event)

    def _is_skipped(self, row: Row) -> bool:
        """Whether another row of the same order came just before, or a column says that it is no event."""
        if self.mapping.one_per:
            order, before = _text(row, self.mapping.one_per), self._last_order
            self._last_order = order
            if order and order == before:
                self.skipped["one_per"] += 1
                return True
        if all(_text(row, column).casefold() in values for column, values in self._where.items()):
            return False
        self.skipped["where"] += 1
        return True

    def _made_steps(self) -> list[_Step]:
        hashed = {IDENTIFIERS[kind] for kind in self.mapping.hash}
        steps = [
            _Step(field.removesuffix(_NUMBER), column, self._reader(field, self._amounts))
            for field, column in self.mapping.map.items()
            if field not in hashed
        ]
        for kind, column in self.mapping.hash.items():
            steps.append(_Step(IDENTIFIERS[kind], column, partial(self.hasher.digest, kind), hashes=True))
        return steps

    def _reader(self, field: str, amounts: Amounts) -> Reader:
        if field in _AMOUNTS or field.endswith(_NUMBER):
            return partial(amounts.read, field=field.removesuffix(_NUMBER))
        if field == "custom_data.num_items":
            return partial(_read_whole, amounts, field)
        if field == "event_time":
            return partial(self.times.read, field=field)
        if field == "custom_data.currency":
            return str.upper
        if field in _LISTS:
            return lambda text: [text]
        for kind, name in IDENTIFIERS.items():
            if field == name:
                return partial(check_hashed, kind, field=field)
        return str


def read_record(raw: bytes) -> Row:
    """A JSON object as a row.

    Raises:
        Rejection: It is none.
    """
    try:
        return _decode(raw)
    except UNREADABLE:
        raise Rejection("MALFORMED_LINE", "The record is not a JSON object.") from None


def _constant(read: Reader, text: str) -> Any:
    try:
        return read(text)
    except Rejection as rejection:
        raise StartupError(f"--set: {rejection.message}") from None


def _read_whole(amounts: Amounts, field: str, text: str) -> int | Decimal:
    number = amounts.read(text, field)
    return int(number) if number == number.to_integral_value() else number


def _completed(mapping: ColumnMapping, columns: Sequence[str] | None) -> ColumnMapping:
    """The mapping with the columns that have a field's own name, and with the columns of what is hashed."""
    named = {field: field for field in FIELDS if field in set(columns or ()) and field not in mapping.set}
    fields = named | mapping.map
    hashes = {
        kind: column or mapping.map.get(IDENTIFIERS[kind]) or _column_of(kind, columns)
        for kind, column in mapping.hash.items()
    }
    return msgspec.structs.replace(mapping, map=fields, hash=hashes)


def _column_of(kind: str, columns: Sequence[str] | None) -> str:
    """The only column that is called like what is to be hashed."""
    if columns is None:
        return kind
    names = {"email": ("email", "emailaddress", "mail"), "phone": ("phone", "phonenumber", "telephone", "mobile")}
    found = [name for name in columns if name.casefold().translate(_IGNORED) in names[kind]]
    if len(found) != 1:
        raise StartupError(f"Say which column --hash {kind} is about: --hash '{kind}=COLUMN'.")
    return found[0]


_IGNORED = str.maketrans("", "", "-_ ")


def _require(mapping: ColumnMapping, label: str, describe: str) -> None:
    missing = [field for field in REQUIRED if field not in mapping.map and field not in mapping.set]
    if missing:
        names = f"{', '.join(missing[:-1])} and {missing[-1]}" if len(missing) > 1 else missing[0]
        example = "--set event_type=purchase" if missing == ["event_type"] else f"--map {missing[0]}=COLUMN"
        raise StartupError(
            f"{label} is a table. Say which column is {names}, for example {example}; --set FIELD=VALUE gives all rows "
            f"the same value. {describe}"
        )


def _text(row: Row, column: str) -> str:
    """A cell without surrounding spaces; empty if there is none. In JSON, ``a.b`` is the field b of a."""
    value: Any = row.get(column)
    if value is None and "." in column and column not in row:
        value = row
        for name in column.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        short = isinstance(value, Decimal) and abs(value.adjusted()) < 50  # one such as 1E+999999 is not spelled out
        return f"{value:f}" if short else str(value)
    return ""


def _put(event: dict[str, Any], field: str, value: Any) -> None:
    if value is None:
        return
    group, _, name = field.partition(".")
    if not name:
        event[field] = value
        return
    inner = event.get(group)
    event[group] = inner = dict(inner) if isinstance(inner, dict) else {}
    if field.startswith(_UID):
        uids = inner.get("uids")
        uid = {"type": field.removeprefix(_UID), "value": value}
        inner["uids"] = [*(uids if isinstance(uids, list) else ()), uid]
    else:
        inner[name] = value
