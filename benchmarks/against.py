"""Two versions of the server under the same loads, in turns: this checkout, and another commit of its repository."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

import click

from benchmarks.events import Batches
from benchmarks.load import send_batches, store_for
from benchmarks.report import Goal, Section, Table
from benchmarks.server import CHECKOUT, serving
from benchmarks.size import Size
from benchmarks.wrk import Wrk

__all__ = ["measure_against"]

_EVENTS = 10_000
_CONNECTIONS = (32, 1)
_WARM_UP = 4
_LEAST_BATCHES = 1.5
_BATCHES = f"batches of {_EVENTS:,}, events/s until stored"
_BATCHES_CPU = f"batches of {_EVENTS:,}, CPU ms a batch"


@dataclass(slots=True)
class _Version:
    """One version and its figures, one of each kind a round."""

    checkout: Path
    folder: Path
    numbers: Iterator[int] = field(default_factory=count)
    figures: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def measure_against(size: Size, folder: Path, commit: str) -> Section:
    """Measure both, one after the other, as many rounds as ``size`` says; every other round begins with the new one.

    Raises:
        click.ClickException: The repository has no such commit.
    """
    wrk, batches = Wrk(folder), Batches(_EVENTS)
    with _checked_out(commit, folder / "checkout") as checkout:
        old, new = _Version(checkout, folder / "old"), _Version(CHECKOUT, folder / "new")
        for number in range(size.rounds):
            for version in (old, new) if number % 2 == 0 else (new, old):
                _measure(version, size, wrk, batches)
    ratios = {name: median(new.figures[name]) / median(old.figures[name]) for name in new.figures}
    return Section(
        title=f"This version beside {commit}",
        method=(
            f"Both servers got the same loads on this machine, in turns, {size.rounds} rounds on a folder of each "
            f"one's own: batches of {_EVENTS:,} events over four connections for {size.round_s:.0f} s and until all "
            f"are stored, then single events by wrk for {size.round_s:.0f} s over each number of connections, all "
            "with idempotency keys. Only the source code is the other commit's; the packages are the same. Medians of "
            "the rounds, and new divided by old."
        ),
        table=Table(
            ("load", "old", "new", "new / old"),
            [
                (name, f"{median(old.figures[name]):,.1f}", f"{median(new.figures[name]):,.1f}", f"{ratio:.2f}")
                for name, ratio in ratios.items()
            ],
        ),
        goals=[
            Goal(
                f"batches: at least {_LEAST_BATCHES} times the old rate",
                f"{ratios[_BATCHES]:.2f}",
                ratios[_BATCHES] >= _LEAST_BATCHES,
            )
        ],
    )


def _measure(version: _Version, size: Size, wrk: Wrk, batches: Batches) -> None:
    figures = version.figures
    with serving(version.folder, version.checkout) as server:
        send_batches(_WARM_UP, server, batches, version.numbers)
        load = store_for(size.round_s, server, batches, version.numbers)
        figures[_BATCHES].append(load.rate)
        figures[_BATCHES_CPU].append(load.server_s / len(load.answered_in) * 1000)
        for connections in _CONNECTIONS:
            found = wrk.send(server, connections, round(size.round_s))
            figures[f"single events, {connections}, requests/s"].append(found.rate)
            figures[f"single events, {connections}, p99 ms"].append(found.p99_ms)
            figures[f"single events, {connections}, CPU ms a request"].append(found.server_ms)


@contextmanager
def _checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """A work tree of the commit, until the block is left."""
    try:
        _git("worktree", "add", "--detach", str(folder), commit)
    except subprocess.CalledProcessError as error:
        raise click.ClickException(f"git can't check out {commit!r}: {error.stderr.strip()}") from error
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(CHECKOUT), *arguments], check=True, capture_output=True, text=True)
