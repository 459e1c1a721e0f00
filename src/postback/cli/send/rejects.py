"""The file of rejected records: where each one stood and why it was rejected, never what was in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from postback.cli.file_options import remove_rejects
from postback.errors import StartupError

__all__ = ["RejectsFile"]


class RejectsFile:
    """Writes NDJSON; without a single rejection there is no file, and one of an earlier run is deleted.

    Args:
        path: The file, or None to write nothing.
        chosen: Whether the user named it. Else one that can't be written is no reason to stop.
    """

    def __init__(self, path: Path | None, *, chosen: bool = True) -> None:
        self._path = path
        self._chosen = chosen
        self._problem = ""
        self._stream: IO[str] | None = None
        if path:
            try:
                remove_rejects(path)
            except StartupError as error:
                self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream:
            self._stream.close()

    def add(self, row: int, line: int, field: str, reason: str, message: str) -> None:
        """Note a record.

        Raises:
            StartupError: The file that the user named can't be written.
        """
        if not self._path:
            return
        entry = {"row": row, "line": line, "field": field, "reason": reason, "message": message}
        try:
            self._stream = self._stream or self._path.open("w", encoding="utf-8")
            self._stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
        except OSError as error:
            told = f"{self._path} can't be written: {error.strerror}. Name another file with --rejects."
            self._give_up(StartupError(told))

    def report(self) -> Iterator[str]:
        """Where the records are noted, if any are."""
        if self._problem:
            yield self._problem
        elif self._stream:
            yield f"All that failed, by line and reason: {self._path}"

    def _give_up(self, error: StartupError) -> None:
        if self._chosen:
            raise error
        self._problem, self._path = str(error), None
