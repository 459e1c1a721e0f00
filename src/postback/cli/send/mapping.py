"""Which column of a table is which field of an event: from options, a preset, or a file that was saved."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from postback.errors import StartupError
from postback.events.event import CustomData, UserMatch
from postback.protocol.enums import UID_TYPES

__all__ = [
    "FIELDS",
    "IDENTIFIERS",
    "REQUIRED",
    "ColumnMapping",
    "check_field",
    "load_mapping",
    "merged",
    "parse_hash",
    "parse_where",
    "save_mapping",
]

IDENTIFIERS = {"email": "user_match.hashed_email", "phone": "user_match.hashed_phone"}
"""What --hash takes → the field for it."""

_TOP = ("event_id", "event_type", "event_time", "action_source", "event_source_url", "custom_event_name")
_CUSTOM_DATA = tuple(name for name in CustomData.__struct_fields__ if name != "contents")
FIELDS = (
    *_TOP,
    *(f"custom_data.{name}" for name in _CUSTOM_DATA),
    *(f"user_match.{name}" for name in UserMatch.__struct_fields__ if name != "uids"),
    *(f"user_match.uid.{uid_type}" for uid_type in UID_TYPES),
)
"""The fields of an event that a column or a constant may be. custom_data takes any other name, too."""

REQUIRED = ("event_id", "event_type", "event_time")


class ColumnMapping(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How rows become events.

    Attributes:
        map: Field → column.
        set: Field → what it is in every event.
        hash: ``email`` or ``phone`` → the column with what is hashed; empty: the column that is mapped to the field,
            or is called so.
        where: Column → the values of rows that are events; other rows are skipped.
        one_per: The column that names the order: only the first of several rows in succession is an event.
        timezone: The time zone of times without an offset.
        time_format: How times are written.
        decimal: The decimal sign of amounts.
        country: The country of phone numbers without a country code.
        separator: What stands between two cells of CSV.
        encoding: The encoding of the text.
    """

    map: dict[str, str] = {}
    set: dict[str, str] = {}
    hash: dict[str, str] = {}
    where: dict[str, list[str]] = {}
    one_per: str | None = None
    timezone: str | None = None
    time_format: list[str] = []
    decimal: str | None = None
    country: str | None = None
    separator: str | None = None
    encoding: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing about JSON records."""
        return not (self.map or self.set or self.hash or self.where or self.one_per)


def merged(mappings: Sequence[ColumnMapping]) -> ColumnMapping:
    """Several as one; later ones win."""
    whole: dict[str, Any] = {}
    for mapping in mappings:
        for name, value in msgspec.structs.asdict(mapping).items():
            if isinstance(value, dict):
                whole[name] = whole.get(name, {}) | value
            elif value:
                whole[name] = value
    # A field that is set in every event has no column any more, and one that has a column is not set.
    if mappings:
        last = mappings[-1]
        whole["map"] = {field: column for field, column in whole["map"].items() if field not in last.set}
        whole["set"] = {field: value for field, value in whole["set"].items() if field not in last.map}
    return ColumnMapping(**whole)


def check_field(field: str, option: str) -> None:
    """Check that an event has a field.

    Raises:
        StartupError: It doesn't.
    """
    name = field.partition(":")[0]
    if name in FIELDS or (name.startswith("custom_data.") and name.count(".") == 1 and name != "custom_data.contents"):
        return
    close = next((other for other in FIELDS if other.rpartition(".")[2] == name), None)
    hint = f" Do you mean {close}?" if close else ""
    raise StartupError(
        f"{option} {field!r}: an event has no such field.{hint} The fields are {', '.join(_TOP)}, custom_data.NAME and "
        "user_match.NAME, for example custom_data.value and user_match.click_id."
    )


def parse_where(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """The values that --where names for each column."""
    return {column: [value.strip() for value in values.split(",")] for column, values in texts.items()}


def parse_hash(texts: Sequence[str]) -> dict[str, str]:
    """What --hash says: ``email,phone``, or ``email=COLUMN``.

    Raises:
        StartupError: It is something else.
    """
    found: dict[str, str] = {}
    for text in texts:
        parts = [text] if "=" in text else text.split(",")
        for part in parts:
            kind, _, column = (piece.strip() for piece in part.partition("="))
            known = _kind_of(kind)
            if known is None:
                raise StartupError(
                    "--hash takes email and phone, for example --hash email,phone, or with a column --hash "
                    "'email=Billing Email'."
                )
            found[known] = column or ("" if kind.lower() in IDENTIFIERS else kind)
    return found


def _kind_of(name: str) -> str | None:
    """What a name of a column says that is in it."""
    folded = name.lower().replace("-", "")
    if "mail" in folded:
        return "email"
    return "phone" if any(word in folded for word in ("phone", "telefon", "mobil", "tel")) else None


def load_mapping(path: Path) -> ColumnMapping:
    """A mapping that was saved.

    Raises:
        StartupError: It can't be read.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        raise StartupError(f"{path} can't be read: YAML is not supported. Write the mapping as TOML, or as JSON.")
    try:
        text = path.read_text("utf-8-sig")
        data = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
        return msgspec.convert(data, ColumnMapping)
    except OSError as error:
        raise StartupError(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        what = str(error) if isinstance(error, msgspec.ValidationError) else "it is not valid"
        how = "JSON" if path.suffix.lower() == ".json" else "TOML"
        raise StartupError(
            f"{path} can't be read as {how}: {what}. A mapping is TOML, or JSON in a .json file."
        ) from error


def save_mapping(mapping: ColumnMapping, path: Path) -> None:
    """Write a mapping, as JSON if the file is called so, and otherwise as TOML.

    Raises:
        StartupError: The file can't be written.
    """
    fields = msgspec.to_builtins(mapping)
    text = json.dumps(fields, indent=2, ensure_ascii=False) if path.suffix.lower() == ".json" else _toml(fields)
    try:
        path.write_text(text + "\n", "utf-8")
    except OSError as error:
        raise StartupError(f"{path} can't be written: {error.strerror}.") from error


def _toml(fields: dict[str, Any]) -> str:
    lines = [f"{name} = {_quoted(value)}" for name, value in fields.items() if not isinstance(value, dict)]
    for name, table in fields.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *(f"{_quoted(key)} = {_quoted(value)}" for key, value in table.items())]
    return "\n".join(lines).strip()


def _quoted(value: str | list[str]) -> str:
    """A string or a list of strings in TOML, whose basic strings are those of JSON."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
