"""Writes what was counted into docs/explanation/reliability.md: python -m tests.faults.reliability"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults import attribution_kills, chaos, full_disk_under_merges, fuzz, log_power_loss, server_kills
from tests.faults.counted_tries import commits_of_tries, read_tries

__all__ = ["written"]

PAGE = Path("docs/explanation/reliability.md")

_TABLES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "attribution_kills": (attribution_kills.COUNTED, attribution_kills.table),
    "chaos": (chaos.COUNTED, chaos.table),
    "full_disk_under_merges": (full_disk_under_merges.COUNTED, full_disk_under_merges.table),
    "fuzz": (fuzz.COUNTED, fuzz.table),
    "log_power_loss": (log_power_loss.COUNTED, log_power_loss.table),
    "server_kills": (server_kills.COUNTED, server_kills.table),
}
"""By the command: the file that counts its tries, and what makes tables of them."""

_PLACE = re.compile(r"<!-- counted by (\w+) -->\n.*?<!-- to here -->", re.DOTALL)


def written(page: str) -> str:
    """The page with the tables of what was counted; where nothing was, the tables that it has."""
    return _PLACE.sub(_counted, page)


def _counted(place: re.Match[str]) -> str:
    file, table = _TABLES[place[1]]
    tries = read_tries(Path(file))
    if not tries:
        return place[0]
    return f"<!-- counted by {place[1]} -->\n\n{table(tries)}\n\n{commits_of_tries(tries)}\n\n<!-- to here -->"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    sys.stdout.write(f"{PAGE}\n")
