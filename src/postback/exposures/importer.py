"""Importing a file of exposures into the data folder of a stopped server.

One block is read while the one before is validated and the one before that is stored. The progress is saved durably
after each block: an interrupted import resumes there, and exposures that were stored twice collapse.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

from postback.auth.principal import Account
from postback.errors import StartupError
from postback.events.identifiers import IdentifierHasher
from postback.events.rejection import Rejection
from postback.exposures.file_reader import ExposureFile
from postback.exposures.line_columns import LineColumns
from postback.exposures.registered import PackageCurrencies, counted_warnings
from postback.exposures.validate_columns import ValidatedBlock, validate_block, validate_lines
from postback.record_files.block import Block
from postback.store.data_folder import DataDir, write_durably
from postback.store.event_store import EventStore

__all__ = ["ExposureImport", "ImportProgress"]


@dataclass(slots=True)
class ImportProgress:
    """The progress of an import.

    Attributes:
        rows: Rows processed so far.
        accepted: Rows that were stored.
        rejected: The other rows, by reason.
        warnings: Code → accepted rows with this warning.
        done: Whether the import is complete.
    """

    rows: int = 0
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    done: bool = False


class ExposureImport:
    """One import. ``progress`` is that of earlier starts of the same import.

    Args:
        folder: The data folder, locked by this process.
        events: Its event store.
        account: The account of the exposures.
        file: The file to import.
        content: The digest of the file's content.
        rejects: The file that rejected rows are written to, by number and reason.
        registered: The packages of the account's media buys, for the warnings that need them; None: no such warnings.
    """

    def __init__(
        self,
        folder: DataDir,
        events: EventStore,
        account: Account,
        file: ExposureFile,
        content: str,
        rejects: Path,
        registered: PackageCurrencies | None = None,
    ) -> None:
        self._events = events
        self._account = account
        self._file = file
        self._line_columns = LineColumns(file.columns, file.constants)
        self._rejects = rejects
        self._registered = registered
        self._identifiers = IdentifierHasher(folder.secret)
        self._progress_file = folder.path / "imports" / f"{_identity(account, file, content)}.json"
        self.progress = self._load()

    def restart(self) -> None:
        """Start again at the first row."""
        self.progress = ImportProgress()

    def run(self) -> Iterator[ImportProgress]:
        """Import the remaining rows; yields after each block that is stored durably.

        Raises:
            StartupError: The file can't be read.
            StoreUnavailable: The store rejects the write; the same import can resume here.
        """
        self._progress_file.parent.mkdir(mode=0o700, exist_ok=True)
        with ThreadPoolExecutor(1) as storing, self._open_rejects() as rejects:
            waiting: tuple[Future[None], ValidatedBlock, Block] | None = None
            try:
                for block in self._left():
                    validated = self._validated(block)
                    if waiting:
                        earlier, waiting = waiting, None
                        yield self._settle(*earlier, rejects)
                    waiting = storing.submit(self._events.insert, validated.rows), validated, block
            finally:  # what was read before the file could not be read any further is imported, too
                if waiting:
                    self._settle(*waiting, rejects)
        self.progress.done = True
        self._save()
        yield self.progress

    def _open_rejects(self) -> IO[str]:
        try:
            return self._rejects.open("a" if self.progress.rows else "w", encoding="utf-8")
        except OSError as error:
            raise StartupError(
                f"{self._rejects} can't be written: {error.strerror}. Name another file with --rejects."
            ) from error

    def _validated(self, block: Block) -> ValidatedBlock:
        account_id, sandbox = self._account.account_id, self._account.sandbox
        how = account_id, self._identifiers, datetime.now(UTC)
        if isinstance(block.records, list):
            validated = validate_lines(block.records, self._line_columns, *how, sandbox=sandbox)
        else:
            validated = validate_block(block.records, *how, sandbox=sandbox)
        if self._registered is not None:
            validated.warnings.update(counted_warnings(validated.rows, self._registered))
        return validated

    def _left(self) -> Iterator[Block]:
        to_skip = self.progress.rows
        for block in _ahead(self._file.blocks()):
            known = min(len(block), to_skip)
            to_skip -= known
            if known < len(block):
                yield block.after(known)

    def _settle(
        self, stored: Future[None], validated: ValidatedBlock, block: Block, rejects: IO[str]
    ) -> ImportProgress:
        stored.result()
        progress = self.progress
        rejected = _rejected(block, validated)
        for place, rejection in rejected:
            line = {
                "row": progress.rows + place + 1,
                "line": block.lines[place],
                "field": rejection.field,
                "reason": rejection.reason,
                "message": rejection.message,
            }
            rejects.write(json.dumps(line) + "\n")
        rejects.flush()
        progress.rows += len(block)
        progress.accepted += validated.accepted
        progress.rejected = dict(Counter(progress.rejected) + Counter(r.reason for _, r in rejected))
        progress.warnings = dict(Counter(progress.warnings) + Counter(validated.warnings))
        self._save()
        return progress

    def _save(self) -> None:
        write_durably(self._progress_file, msgspec.json.encode(self.progress).decode())

    def _load(self) -> ImportProgress:
        if not self._progress_file.exists():
            return ImportProgress()
        return msgspec.json.decode(self._progress_file.read_bytes(), type=ImportProgress)


def _ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same blocks, each read while the one before is worked on."""
    with ThreadPoolExecutor(1) as reading:
        coming = reading.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reading.submit(next, blocks, None)
            yield block


def _rejected(block: Block, validated: ValidatedBlock) -> list[tuple[int, Rejection]]:
    """Place in the block and reason of each row that is not stored, in order."""
    places = block.places()
    rejected = [(places[place], rejection) for place, rejection in validated.rejected]
    rejected += [(place, Rejection("INVALID_REQUEST", why)) for place, why in block.faults.items()]
    return sorted(rejected, key=lambda item: item[0])


def _identity(account: Account, file: ExposureFile, content: str) -> str:
    """Two imports are the same if the file's content, the options and the account are."""
    options = [sorted(file.columns.items()), sorted(file.constants.items()), file.format, file.encoding, file.separator]
    identity = json.dumps([account.account_id, content, *options, file.decimal])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
