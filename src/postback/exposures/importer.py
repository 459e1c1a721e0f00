"""Importing a file of exposures into the data folder of a server that is stopped.

Blocks are judged and stored in turn, one being stored while the next is judged. After each the progress is noted
durably: an import that is killed goes on from there, and what it stored twice collapses.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa

from postback.exposures.blocks import JudgedBlock, judge_block
from postback.exposures.files import ExposureFile
from postback.ingest.identifiers import IdentifierHasher
from postback.principal import Account
from postback.store.datadir import DataDir, write_durably
from postback.store.events import EventStore
from postback.store.stamps import Stamps

__all__ = ["ExposureImport", "ImportProgress"]

_SAMPLE_BYTES = 2**20


@dataclass(slots=True)
class ImportProgress:
    """How far an import has come.

    Attributes:
        rows: Rows of the file that are dealt with.
        accepted: Those of them that were stored.
        rejected: The others, by reason.
        warnings: Code → accepted rows that it is about.
        done: Whether that was all.
    """

    rows: int = 0
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    done: bool = False


class ExposureImport:
    """One import. ``progress`` tells what an earlier start of the same import did.

    Args:
        folder: The data folder, held by this process.
        events: Its event store.
        account: Whose exposures they are.
        file: What is imported.
        rejects: Where rejected rows are noted, by number and reason.
    """

    def __init__(
        self, folder: DataDir, events: EventStore, account: Account, file: ExposureFile, rejects: Path
    ) -> None:
        self._events = events
        self._account = account
        self._file = file
        self._rejects = rejects
        self._identifiers = IdentifierHasher(folder.secret)
        self._stamps = Stamps(events.last_stamp())
        self._note = folder.path / "imports" / f"{_identity(account, file)}.json"
        self.progress = self._noted()

    def restart(self) -> None:
        """Begin again from the first row."""
        self.progress = ImportProgress()

    def run(self) -> Iterator[ImportProgress]:
        """Import what is left; yields after each block that is stored durably.

        Raises:
            StartupError: The file can't be read.
            StoreUnavailable: The store refused; the same import goes on from here.
        """
        self._note.parent.mkdir(mode=0o700, exist_ok=True)
        with ThreadPoolExecutor(1) as storing, self._rejects.open("a" if self.progress.rows else "w") as rejects:
            waiting: tuple[Future[None], JudgedBlock, int] | None = None
            for block in self._left():
                judged = judge_block(
                    block,
                    self._account.account_id,
                    self._identifiers,
                    datetime.now(UTC),
                    self._stamps.take(len(block)),
                    sandbox=self._account.sandbox,
                )
                if waiting:
                    yield self._settle(*waiting, rejects.write)
                waiting = storing.submit(self._events.insert, judged.rows), judged, len(block)
            if waiting:
                yield self._settle(*waiting, rejects.write)
        self.progress.done = True
        self._keep()

    def _left(self) -> Iterator[pa.Table]:
        skipped = 0
        for block in self._file.blocks():
            known = min(len(block), self.progress.rows - skipped) if skipped < self.progress.rows else 0
            skipped += known
            if known < len(block):
                # What this import has yet to do counts as skipped for the blocks behind it.
                skipped += len(block) - known
                yield block.slice(known)

    def _settle(
        self, stored: Future[None], judged: JudgedBlock, rows: int, note: Callable[[str], object]
    ) -> ImportProgress:
        stored.result()
        progress = self.progress
        for place, rejection in judged.rejected:
            line = {
                "row": progress.rows + place + 1,
                "field": rejection.field,
                "reason": rejection.reason,
                "message": rejection.message,
            }
            note(json.dumps(line) + "\n")
        progress.rows += rows
        progress.accepted += judged.accepted
        progress.rejected = dict(Counter(progress.rejected) + Counter(r.reason for _, r in judged.rejected))
        progress.warnings = dict(Counter(progress.warnings) + Counter(judged.warnings))
        self._keep()
        return progress

    def _keep(self) -> None:
        write_durably(self._note, msgspec.json.encode(self.progress).decode())

    def _noted(self) -> ImportProgress:
        if not self._note.exists():
            return ImportProgress()
        return msgspec.json.decode(self._note.read_bytes(), type=ImportProgress)


def _identity(account: Account, file: ExposureFile) -> str:
    """What makes two imports the same: the file's size and its ends, what its columns are, and the account."""
    size = file.path.stat().st_size
    with file.path.open("rb") as stream:
        ends = stream.read(_SAMPLE_BYTES)
        stream.seek(max(0, size - _SAMPLE_BYTES))
        ends += stream.read(_SAMPLE_BYTES)
    said = json.dumps([account.account_id, size, file.format, dict(file.columns), dict(file.constants)])
    return hashlib.sha256(said.encode() + ends).hexdigest()[:32]
