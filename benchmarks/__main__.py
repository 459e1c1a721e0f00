"""Runs the benchmarks, prints their tables, and with --keep writes them into docs/benchmarks.md."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from benchmarks.against import measure_against
from benchmarks.figures import keep_figures
from benchmarks.page import page, part
from benchmarks.programs import PROGRAMS, programs_table
from benchmarks.report import Section, circumstances
from benchmarks.server import CHECKOUT
from benchmarks.size import FULL, LARGE_EXPOSURES, QUICK, Size
from benchmarks.wrk import require_wrk

PAGE = CHECKOUT / "docs" / "benchmarks.md"


@click.command(epilog="\b\n" + str(programs_table()))
@click.argument("names", nargs=-1, type=click.Choice(list(PROGRAMS)), metavar="[NAMES]...")
@click.option("--quick", is_flag=True, help="See that everything runs; the figures mean nothing.")
@click.option("--keep", is_flag=True, help="Write what was measured into docs/benchmarks.md.")
@click.option("--large", is_flag=True, help=f"Go on to {LARGE_EXPOSURES:,} exposures in growth: 8 minutes more.")
@click.option(
    "--against", metavar="COMMIT", help="Compare with the server of another commit, under the same loads in turns."
)
def main(names: tuple[str, ...], quick: bool, keep: bool, large: bool, against: str | None) -> None:
    """Measure by all programs, or by those named; with --against by those named and the comparison."""
    if quick and keep:
        raise click.UsageError("The figures of --quick mean nothing, so --keep doesn't keep them.")
    chosen = names or (() if against else tuple(PROGRAMS))
    if against or any(PROGRAMS[name].wrk for name in chosen):
        require_wrk()
    size = QUICK if quick else FULL
    if large:
        size = replace(size, growing_exposures=(*size.growing_exposures, LARGE_EXPOSURES))
    for name in chosen:
        options = [option for option, given in (("--quick", quick), ("--large", large)) if given]
        command = " ".join(["python -m benchmarks", name, *options])
        section = _measured(PROGRAMS[name].measure, size)
        text = part(section, circumstances(command))
        click.echo(text)
        if keep:
            PAGE.write_text(page(PAGE.read_text(), {name: text}))
            keep_figures(section.figures)
    if against:
        command = f"python -m benchmarks --against {against}"
        click.echo(part(_measured(partial(measure_against, commit=against), size), circumstances(command)))


def _measured(measure: Callable[[Size, Path], Section], size: Size) -> Section:
    scratch = CHECKOUT / "build"  # on a disk: a temporary folder in memory would make every flush free
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=scratch) as folder:
        return measure(size, Path(folder))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
