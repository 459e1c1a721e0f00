"""Runs the benchmarks, prints their tables, and keeps those of a full run in docs/benchmarks.md."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from benchmarks import attribution, exposure_import, mcp_calls, resources, rest_batches, single_events, stored_events
from benchmarks.report import heading
from benchmarks.size import FULL, QUICK

SECTIONS = {
    "rest": rest_batches.measure,
    "mcp": mcp_calls.measure,
    "single": single_events.measure,
    "stored": stored_events.measure,
    "resources": resources.measure,
    "import": exposure_import.measure,
    "attribution": attribution.measure,
}

_ROOT = Path(__file__).parents[1]


@click.command()
@click.argument("sections", nargs=-1, type=click.Choice(list(SECTIONS)))
@click.option("--quick", is_flag=True, help="See that everything runs; the figures mean nothing.")
def main(sections: tuple[str, ...], quick: bool) -> None:
    """Measure all SECTIONS, or those named. Only a full run of all is kept in docs/benchmarks.md."""
    chosen = sections or tuple(SECTIONS)
    if "single" in chosen:
        single_events.require_wrk()
    command = " ".join(["python -m benchmarks", *sections, *(["--quick"] if quick else [])])
    scratch = _ROOT / "build"  # on a disk: a temporary folder in memory would make every flush free
    scratch.mkdir(exist_ok=True)
    parts = [heading(command)]
    click.echo(parts[0])
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="benchmark-", dir=scratch) as folder:
            parts.append(str(SECTIONS[name](QUICK if quick else FULL, Path(folder))))
        click.echo(parts[-1])
    if not (sections or quick):
        (_ROOT / "docs" / "benchmarks.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
