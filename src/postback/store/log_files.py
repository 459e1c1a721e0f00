"""The file calls of the ingest log, all in one place, so that a test can lose what was not synced."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["LogFiles"]


class LogFiles:
    """The files in one folder, which only their owner can read. A file is written by the number that ``create`` gives.

    Every method may raise OSError.

    Args:
        folder: Their folder; created if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)

    def names(self) -> list[str]:
        """The names of the files, sorted."""
        return sorted(file.name for file in self._folder.iterdir() if not file.is_dir())

    def folders(self) -> list[str]:
        """The names of the folders in it, sorted."""
        return sorted(file.name for file in self._folder.iterdir() if file.is_dir())

    def folder(self, name: str) -> LogFiles:
        """A folder in it; created if it is missing."""
        inner = LogFiles(self._folder / name)
        self._sync_names()
        return inner

    def link(self, name: str, to: LogFiles) -> None:
        """Have a file in another folder, too, durably on return."""
        with suppress(FileExistsError):
            os.link(self._folder / name, to._folder / name)
        to._sync_names()

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return (self._folder / name).read_bytes()

    def create(self, name: str) -> int:
        """Create an empty file, whose name is durable on return."""
        file = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._sync_names()
        return file

    def open(self, name: str) -> int:
        """Open a file for writing."""
        return os.open(self._folder / name, os.O_WRONLY)

    def reserve(self, file: int, start: int, size: int) -> None:
        """Have the disk set bytes aside, which read as zeros, so that it is full now rather than later."""
        os.posix_fallocate(file, start, size)

    def write(self, file: int, start: int, data: bytes) -> None:
        """Write bytes at a place."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(file, rest, start)
            start += written
            rest = rest[written:]

    def cut(self, file: int, size: int) -> None:
        """Drop what lies behind the first ``size`` bytes."""
        os.ftruncate(file, size)

    def sync(self, file: int) -> None:
        """Make what was written, and the size, durable."""
        os.fdatasync(file)

    def close(self, file: int) -> None:
        """Close a file."""
        os.close(file)

    def remove(self, name: str) -> None:
        """Delete a file, durably on return."""
        (self._folder / name).unlink(missing_ok=True)
        self._sync_names()

    def _sync_names(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
