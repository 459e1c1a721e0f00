"""The first lines of a CSV file: its separator and its columns."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from postback.errors import StartupError
from postback.events.personal_data import looks_personal

__all__ = ["SEPARATORS", "Header", "name_columns", "read_header"]

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_SAMPLE_LINES = 50
_SHOWN = 30
_DECLARED = re.compile(r"sep=(.)\s*\Z", re.IGNORECASE)
_NAME = re.compile(r"[^\W\d_][\w .,:()/#%&*+'-]{0,59}\Z")


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a CSV file.

    Attributes:
        names: Their names, trimmed.
        separator: What stands between two cells.
        lines: How many lines come before the first record.
    """

    names: tuple[str, ...]
    separator: str
    lines: int


def read_header(lines: Sequence[str], label: str, separator: str | None) -> Header | None:
    """The header in the first lines of a file; None if all of them are blank.

    Args:
        lines: The first lines, each with its end.
        label: What messages call the file.
        separator: What stands between two cells; None: found out.
    """
    start = next((at for at, line in enumerate(lines) if line.strip()), None)
    if start is None:
        return None
    declared = _DECLARED.match(lines[start])  # Excel's own first line
    if declared:
        separator, start = separator or declared[1], start + 1
    rest = lines[start : start + _SAMPLE_LINES]
    separator = separator or _guessed(rest)
    reader = csv.reader(iter(rest), delimiter=separator)
    try:
        names = next(reader, [])
    except csv.Error:
        raise StartupError(
            f"{label} has no header that can be read as CSV. Its first line must name the columns."
        ) from None
    names = [name.strip() for name in names]
    while names and not names[-1]:
        del names[-1]  # a separator at the end, which the rows may have or not
    return Header(tuple(names), separator, start + reader.line_num)


def _guessed(lines: Sequence[str]) -> str:
    """The separator that gives the header the most columns and the rows as many as the header."""
    scored: list[tuple[float, int, str]] = []
    for separator in SEPARATORS:
        counts = list(_counts(lines, separator))
        if counts and counts[0] > 1:
            fitting = sum(count == counts[0] for count in counts) / len(counts)
            scored.append((fitting >= 0.5, counts[0], separator))
    return max(scored)[2] if scored else ","


def _counts(lines: Sequence[str], separator: str) -> Iterator[int]:
    try:
        for cells in csv.reader(iter(lines), delimiter=separator):
            if cells:
                yield len(cells)
    except csv.Error:
        return


def name_columns(names: Sequence[str]) -> str:
    """The columns for a message. A name that looks like data stays out: a file without a header begins with data."""
    shown = [name for name in names if _NAME.match(name) and not looks_personal(name) and not _is_data(name)]
    if len(shown) * 2 < sum(map(bool, names)):
        return "Its first line doesn't look like the names of columns. Put them there"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"Its columns are {', '.join(map(repr, shown[:_SHOWN]))}{more}"


def _is_data(name: str) -> bool:
    return "@" in name or sum(map(str.isdigit, name)) > 4


def repeated(names: Sequence[str]) -> set[str]:
    """Names that several columns have."""
    return {name for name, count in Counter(names).items() if name and count > 1}
