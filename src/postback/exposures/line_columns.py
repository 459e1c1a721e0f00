"""Which fields of NDJSON lines are which fields of an exposure, as ``--map`` and ``--set`` say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from postback.errors import StartupError
from postback.protocol.enums import UID_TYPES

__all__ = ["FIELDS", "REQUIRED", "LineColumns"]

REQUIRED = ("exposure_id", "kind", "occurred_at", "media_buy_id", "package_id")
FIELDS = (
    *REQUIRED,
    "creative_id",
    "cost",
    "currency",
    "user_match.hashed_email",
    "user_match.hashed_phone",
    "user_match.click_id",
    "user_match.client_ip",
    "user_match.client_user_agent",
    *(f"user_match.uid.{uid_type}" for uid_type in UID_TYPES),
)
"""What a column of a file, or a constant, may stand for."""

_DOTTED = frozenset(name for name in FIELDS if "." in name)

_UID = "user_match.uid."
_MATCH = "user_match."
_ABSENT = object()


class LineColumns:
    """Arranges a line's JSON object as POST /v1/exposures takes it.

    Lines may name a field of user_match by its dotted name, as the column of a CSV file does.

    Args:
        columns: Field of an exposure → the field of a line that has it. Fields of user_match have dotted names.
        constants: Field → what it is in every line.
    """

    def __init__(self, columns: Mapping[str, str], constants: Mapping[str, str]) -> None:
        self._columns = columns
        self._constants = constants
        self._missing = set(columns.values())
        self._arranged = False

    @property
    def plain(self) -> bool:
        """Whether a line that the call would accept is already arranged."""
        return not (self._columns or self._constants)

    def arrange(self, line: Any) -> Any:
        """The same object with its fields where they belong; whatever is not an object, as it is."""
        if not isinstance(line, dict):
            return line
        exposure = dict(line)
        self._arranged = True
        found = {field: _taken(exposure, name) for field, name in self._columns.items()}
        self._missing -= {name for field, name in self._columns.items() if found[field] is not _ABSENT}
        dotted = {name: exposure.pop(name) for name in _DOTTED & exposure.keys()}
        for field, value in (dotted | found | dict(self._constants)).items():
            _put(exposure, field, None if value is _ABSENT else value)
        return exposure

    def require_found(self) -> None:
        """Check that each field of a line that was named has been seen, if any line could be read.

        Raises:
            StartupError: One has not.
        """
        if self._arranged and self._missing:
            raise StartupError(f"No line has a field {min(self._missing)!r}, which --map names.")


def _taken(exposure: dict[str, Any], name: str) -> Any:
    """A field's value, removed; _ABSENT without it. A dotted name is looked for inside user_match, too."""
    if name in exposure:
        return exposure.pop(name)
    within = exposure.get("user_match")
    if not (name.startswith(_MATCH) and isinstance(within, dict)):
        return _ABSENT
    exposure["user_match"] = within = dict(within)
    if not name.startswith(_UID):
        return within.pop(name.removeprefix(_MATCH), _ABSENT)
    uids = within.get("uids")
    if not isinstance(uids, list):
        return _ABSENT
    wanted = [uid for uid in uids if _is_uid(uid, name)]
    if not wanted:
        return _ABSENT
    within["uids"] = [uid for uid in uids if not _is_uid(uid, name)]
    return _Several([uid.get("value") for uid in wanted])


@dataclass(frozen=True, slots=True)
class _Several:
    """The values of all universal IDs of a type: a person may have two of one."""

    values: list[Any]


def _is_uid(uid: Any, name: str) -> bool:
    return isinstance(uid, dict) and uid.get("type") == name.removeprefix(_UID)


def _put(exposure: dict[str, Any], field: str, value: Any) -> None:
    if isinstance(value, _Several) and not field.startswith(_UID):
        value = value.values[0]
    if not field.startswith(_MATCH):
        exposure[field] = value
        return
    within = exposure.get("user_match")
    if value is None or not isinstance(within, dict | None):
        return  # a user_match that is not an object is rejected as it is
    exposure["user_match"] = within = dict(within or {})
    if not field.startswith(_UID):
        within[field.removeprefix(_MATCH)] = value
        return
    uids = within.get("uids") or []
    if not isinstance(uids, list):
        return  # likewise
    values = value.values if isinstance(value, _Several) else [value]
    within["uids"] = [*uids, *({"type": field.removeprefix(_UID), "value": each} for each in values)]
