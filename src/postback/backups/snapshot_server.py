"""Hands out snapshots of a running server, by a socket in its data folder that only the folder's owner can use.

Whoever connects gets one line of JSON, and has the snapshot until the connection is closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import msgspec

from postback.errors import PostbackError, StoreUnavailable
from postback.store.control_store import ControlStore
from postback.store.data_folder import BACKUP_SOCKET, DataDir
from postback.store.event_store import EventStore
from postback.store.ingest_log import IngestLog
from postback.store.merge_guard import MergeGuard
from postback.store.snapshots import Snapshot, snapshot
from postback.threads import ThreadPool

__all__ = ["SnapshotAnswer", "SnapshotServer", "socket_path"]

_LONGEST_PATH = 100
"""Bytes of a path that every system takes as the address of a socket."""

_log = logging.getLogger(__name__)


class SnapshotAnswer(msgspec.Struct, frozen=True):
    """What whoever connects gets.

    Attributes:
        path: The snapshot's folder, relative to the data folder.
        postgresql: The name of PostgreSQL's snapshot, if the control store is there.
        error: Why there is no snapshot, or nothing.
    """

    path: str = ""
    postgresql: str | None = None
    error: str = ""


@contextmanager
def socket_path(data: Path) -> Iterator[str]:
    """The address of the socket in a data folder, short enough for the system."""
    path = data / BACKUP_SOCKET
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{BACKUP_SOCKET}"
    finally:
        os.close(folder)


class SnapshotServer:
    """Takes snapshots for whoever connects to the socket.

    Args:
        folder: The data folder.
        events: The event store.
        control: The control store.
        log: The ingest log, whose calls are stored before a snapshot is taken.
        merges: Sees that no part of a snapshot is a broken one.
        threads: For what takes long.
    """

    def __init__(
        self,
        folder: DataDir,
        events: EventStore,
        control: ControlStore,
        log: IngestLog,
        merges: MergeGuard,
        threads: ThreadPool,
    ) -> None:
        self._folder = folder
        self._events = events
        self._control = control
        self._log = log
        self._merges = merges
        self._threads = threads
        self._answers: set[asyncio.Task[None]] = set()

    async def run(self) -> NoReturn:
        """Answer until cancelled.

        Raises:
            StoreUnavailable: The socket can't be made.
        """
        try:
            listener = _listen(self._folder.path)
        except OSError as error:
            raise StoreUnavailable(
                f"Backups of the running server are not possible: {BACKUP_SOCKET} can't be made in the data folder "
                f"({error.strerror}).",
                retry_after=1,
            ) from error
        async with await asyncio.start_unix_server(self._connected, sock=listener) as server:
            try:
                await server.serve_forever()
                raise AssertionError
            finally:
                (self._folder.path / BACKUP_SOCKET).unlink(missing_ok=True)
                for answer in self._answers:
                    answer.cancel()
                await asyncio.gather(*self._answers, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = asyncio.create_task(self._answer(reader, writer), name="backup")
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._snapshot() as taken:
                path = str(taken.path.relative_to(self._folder.path))
                try:
                    await _send(writer, SnapshotAnswer(path, taken.control.name))
                    await reader.read()  # until the other side closes
                finally:
                    await _close(writer)  # before the snapshot goes, so that nobody takes what is left for all
        except PostbackError as error:
            _log.warning("No snapshot for a backup: %s", error.message)
            await _send(writer, SnapshotAnswer(error=error.message))
        finally:
            await _close(writer)

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Snapshot]:
        broken, began = self._merges.broken, time.perf_counter()
        await self._log.flushed()
        context = snapshot(self._folder, self._events, self._control, self._log.between_flushes())
        taken = await self._threads.run(context.__enter__)
        try:
            await self._threads.run(taken.copy_control)
            await self._threads.run(self._merges.check)
            if self._merges.broken != broken:
                raise StoreUnavailable("A merge made a broken part, which may be in the snapshot.", retry_after=1)
            _log.info("A snapshot for a backup was taken in %.1f s", time.perf_counter() - began)
            yield taken
            _log.info("The snapshot is no longer in use after %.1f s", time.perf_counter() - began)
        finally:
            await self._threads.run(context.__exit__, None, None, None)


def _listen(data: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        (data / BACKUP_SOCKET).unlink(missing_ok=True)  # a killed server left it
        with socket_path(data) as path:
            listener.bind(path)
        (data / BACKUP_SOCKET).chmod(0o600)  # before it listens
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


async def _close(writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        writer.close()
        await writer.wait_closed()


async def _send(writer: asyncio.StreamWriter, answer: SnapshotAnswer) -> None:
    """Send an answer, unless whoever asked has left."""
    with suppress(ConnectionError):
        writer.write(msgspec.json.encode(answer) + b"\n")
        await writer.drain()
