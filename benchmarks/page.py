"""docs/benchmarks.md: for each program the section that was measured last."""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchmarks.programs import PROGRAMS, programs_table
from benchmarks.report import Section

__all__ = ["page", "part"]

_HEADING = """# Benchmarks

Client and server shared one machine. Ratios compare what was measured in the same run. The server is `postback \
serve` with `POSTBACK_RATE_LIMIT=0` and otherwise default settings; each answer was given after its events were on \
disk. An event is a purchase of about 560 bytes of JSON with the digest of an e-mail address, a click id, and an IP \
address with a browser.

## What can be run

`python -m benchmarks` runs all of these, `python -m benchmarks NAMES` some. `--keep` writes what was measured into \
this page, in the place of what the same programs measured before; a program without a section below has not been \
kept yet. `--quick` is a smoke run of a few minutes, whose figures mean nothing. `--against COMMIT` compares with the \
server of another commit: both get the same loads in turns, and the ratio is printed. Nothing else should run on the \
machine. Single events are sent by wrk.
"""
_PLACE = re.compile(r"<!-- measured by (\w+) -->\n\n(.*?)\n<!-- to here -->", re.DOTALL)


def part(section: Section, circumstances: str) -> str:
    """A section with what its figures are of, as it stands in the page."""
    title, _, rest = str(section).partition("\n\n")
    return f"{title}\n\n{circumstances}\n\n{rest}"


def page(before: str, measured: Mapping[str, str]) -> str:
    """The page with new parts, by the names of their programs; the others are those of the page before."""
    parts = {**dict(_PLACE.findall(before)), **measured}
    places = (f"<!-- measured by {name} -->\n\n{parts[name]}\n<!-- to here -->\n" for name in PROGRAMS if name in parts)
    return "\n".join((_HEADING, f"{programs_table()}\n", *places))
