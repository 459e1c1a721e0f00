"""What each dependency weighs: ``python -m benchmarks.packages`` prints the figures of docs/dependencies.md."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["megabytes", "needed"]

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def needed(requirements: Iterable[str]) -> set[str]:
    """The packages that these requirements bring on this machine, their own included."""
    found: dict[tuple[str, frozenset[str]], None] = {}
    waiting = [Requirement(requirement) for requirement in requirements]
    while waiting:
        wanted = waiting.pop()
        extras = wanted.extras or {""}
        key = (canonicalize_name(wanted.name), frozenset(extras))
        if key in found or not _applies(wanted, {""}):
            continue
        found[key] = None
        further = map(Requirement, distribution(wanted.name).requires or ())
        waiting += [requirement for requirement in further if _applies(requirement, extras)]
    return {name for name, _ in found}


def megabytes(packages: Iterable[str]) -> float:
    """The size of their installed files, 10⁶ bytes each."""
    files = [file for package in packages for file in distribution(package).files or ()]
    return sum(path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file()) / 1e6


def main(more: list[str]) -> None:
    """Print a row for each dependency, and for the packages that are named: what comes with it and nothing else."""
    declared: list[str] = tomllib.loads(_PROJECT.read_text("utf-8"))["project"]["dependencies"]
    everything = needed(declared)
    print(f"{len(everything)} packages, {megabytes(everything):.0f} MB")
    print("| package | brings alone | MB |\n|---|---:|---:|")
    rows = []
    for requirement in declared:
        alone = everything - needed(other for other in declared if other != requirement)
        rows.append((megabytes(alone), len(alone), Requirement(requirement).name))
    for name in more:
        alone = needed([name]) - everything
        rows.append((megabytes(alone), len(alone), name))
    for size, count, name in sorted(rows, reverse=True):
        print(f"| {name} | {count} | {size:.1f} |")


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


if __name__ == "__main__":
    main(sys.argv[1:])
