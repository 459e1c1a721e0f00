"""Adoption: what the log of a server has that is gone for good is stored by whoever reaches its files.

The same flushes as the server's own move it, so that it is stored once, whatever was moved before and wherever an
adoption was cut short. Then the others wait for that server no more.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.data_folder import node_id_in, require_restored, try_lock
from postback.store.fingerprint import log_owner
from postback.store.flusher import Flusher
from postback.store.log_files import LogFiles
from postback.store.log_segments import LogSegments, read_segments, refuse_foreign
from postback.store.nodes import MOST_NODES, Node
from postback.store.shards import Shards

__all__ = ["Adopted", "adopt"]


class Adopted(NamedTuple):
    """What was adopted.

    Attributes:
        number: The node's, which is removed; None if it was before.
        rows: How many rows were stored.
    """

    number: int | None
    rows: int


def adopt(path: Path, control: ControlStore, shards: Shards, quarantine: Path) -> Adopted:
    """Store what lies in a log, and remove its node.

    Args:
        path: The data folder of a server that is gone for good, or its ``log`` only.
        control: The control store of its installation.
        shards: The event stores of its installation.
        quarantine: Where rows go that the event store refuses.

    Raises:
        StartupError: There is no log, it is another installation's or damaged, it is in use, or nothing may be stored
            at present.
        StoreUnavailable: A store refused; what is left stays in the log, and the next adoption goes on with it.
    """
    with ExitStack() as held:
        try:
            data = _data_folder(path)
            held.enter_context(_locked(data) if data else _locked_alone(path))
            files = LogFiles(data / "log" if data else path)
            owner = log_owner(control)
            refuse_foreign(files.names(), owner)
            node_id = node_id_in(data) if data else _issuer(files, control)
        except OSError as error:
            raise StartupError(f"The log in {path} can't be used ({error.strerror}). Give this user access.") from error
        shards.require_flowing()
        node = Node.taken_over(control, node_id) if node_id else None
        segments = LogSegments(files, shards.receipt_times, owner)
        segments.recover()
        flusher = Flusher(segments, shards, control, LogFiles(quarantine))
        flusher.recover()
        rows = sum(segment.rows for segment in segments.sealed) + flusher.backlogs.rows
        while flusher.flush_oldest():
            if node:
                node.publish(shards.stored_through())
        flusher.flush_backlogs()
        if node:
            node.remove()
        return Adopted(node.number if node else None, rows)


def _data_folder(path: Path) -> Path | None:
    """The data folder that is meant; None if there is only what was in its ``log``."""
    if (path / "log").is_dir():
        require_restored(path)
        return path
    if not path.is_dir():
        raise StartupError(f"There is no folder {path}. Name the data folder of a server, or the folder log in it.")
    return path.parent if path.name == "log" and (path.parent / "lock").exists() else None


def _locked(data: Path) -> IO[str]:
    lock = try_lock(data / "lock")
    if isinstance(lock, str):
        raise StartupError(f"The data folder {data} is in use (process {lock}). Its server stores what is in its log.")
    return lock


@contextmanager
def _locked_alone(path: Path) -> Iterator[None]:
    """A folder without a file for locks is locked itself, against other adoptions."""
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StartupError(f"Another command adopts the log in {path}.") from None
    finally:
        os.close(folder)


def _issuer(files: LogFiles, control: ControlStore) -> str | None:
    """The id of the node whose log it is, by the receipt times of its calls; None if it was removed."""
    first = next((segment.frames[0] for segment in read_segments(files) if segment.frames), None)
    if first is None:
        raise StartupError(
            "No calls wait in this log. If its server is gone for good, remove it: see 'postback nodes list' and "
            "'postback nodes remove'."
        )
    return Node.that_issued(control, first.received_at) if first.summary.step == MOST_NODES else None
