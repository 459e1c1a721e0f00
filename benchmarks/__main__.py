"""Runs the benchmarks, prints their tables, and keeps those of a full run in docs/benchmarks.md."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from benchmarks.against import measure_against
from benchmarks.programs import PROGRAMS, programs_table
from benchmarks.report import Section, heading
from benchmarks.server import CHECKOUT
from benchmarks.size import FULL, LARGE_EXPOSURES, QUICK, Size
from benchmarks.wrk import require_wrk

_PAGE = CHECKOUT / "docs" / "benchmarks.md"


@click.command(epilog="\b\n" + str(programs_table()))
@click.argument("names", nargs=-1, type=click.Choice(list(PROGRAMS)), metavar="[NAMES]...")
@click.option("--quick", is_flag=True, help="See that everything runs; the figures mean nothing.")
@click.option("--large", is_flag=True, help=f"Go on to {LARGE_EXPOSURES:,} exposures in growth: 8 minutes more.")
@click.option(
    "--against", metavar="COMMIT", help="Compare with the server of another commit, under the same loads in turns."
)
def main(names: tuple[str, ...], quick: bool, large: bool, against: str | None) -> None:
    """Measure by all programs, or by those named; with --against by those named and the comparison.

    A full run of all is kept in docs/benchmarks.md.
    """
    chosen = names or (() if against else tuple(PROGRAMS))
    if against or any(PROGRAMS[name].wrk for name in chosen):
        require_wrk()
    size = QUICK if quick else FULL
    if large:
        size = replace(size, growing_exposures=(*size.growing_exposures, LARGE_EXPOSURES))
    measures: list[Callable[[Size, Path], Section]] = [PROGRAMS[name].measure for name in chosen]
    if against:
        measures.append(partial(measure_against, commit=against))
    options = [
        *(["--quick"] if quick else []),
        *(["--large"] if large else []),
        *(["--against", against] if against else []),
    ]
    parts = [heading(" ".join(["python -m benchmarks", *names, *options]), programs_table())]
    click.echo(parts[0])
    for section in _sections(measures, size):
        parts.append(str(section))
        click.echo(parts[-1])
    if chosen == tuple(PROGRAMS) and not quick:
        _PAGE.write_text("\n".join(parts))


def _sections(measures: list[Callable[[Size, Path], Section]], size: Size) -> Iterator[Section]:
    scratch = CHECKOUT / "build"  # on a disk: a temporary folder in memory would make every flush free
    scratch.mkdir(exist_ok=True)
    for measure in measures:
        with tempfile.TemporaryDirectory(prefix="benchmark-", dir=scratch) as folder:
            yield measure(size, Path(folder))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
