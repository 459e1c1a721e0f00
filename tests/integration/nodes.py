"""Two servers that share one PostgreSQL."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

__all__ = ["start_nodes"]


def start_nodes(start: StartServer, folder: Path) -> list[Server]:
    """Start two servers on an empty database; the data folder of the second begins as a copy of the first's.

    Each has an event store of its own, so that what they do in the control store can be looked at alone.
    """
    first = start()
    first.stop()
    copy = folder / "second"
    shutil.copytree(first.data, copy, symlinks=True, ignore=shutil.ignore_patterns("backup.sock", "node"))
    return [start(data=data) for data in (first.data, copy)]
