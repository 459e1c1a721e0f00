"""Making a backup: a dated folder, in which what has not changed since the last one is a hard link to it."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from postback.backups.files import copy_files, make_folders, sha256_of, sync_folders, walk
from postback.backups.manifest import CONTENT, MANIFEST, BackedUpFile, Manifest, read_manifest, write_manifest
from postback.backups.sources import Source
from postback.errors import StartupError
from postback.protocol.timestamps import rfc3339
from postback.store.data_folder import sync_names, try_lock

__all__ = ["CreatedBackup", "create_backup", "newest_backup", "open_target"]

_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z(-\d+)?")
_INCOMPLETE = ".incomplete"


class CreatedBackup(NamedTuple):
    """A backup that was made.

    Attributes:
        path: Its folder.
        files: How many files it has.
        size: Their bytes.
        added: The bytes of those that the backup before it did not have.
    """

    path: Path
    files: int
    size: int
    added: int


@contextmanager
def open_target(folder: Path, data: Path) -> Iterator[None]:
    """Lock a folder for backups of a data folder, and create it if it is missing. What a killed backup left is deleted.

    Raises:
        StartupError: It can't be used, or another backup is being written into it.
    """
    if data.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise StartupError(f"{folder} is in the data folder {data}. Choose a folder elsewhere, best on another disk.")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = try_lock(folder / "lock")
    except OSError as error:
        raise StartupError(
            f"Backups can't be written into {folder} ({error.strerror}). Give this user write access, or choose "
            "another folder."
        ) from error
    if isinstance(lock, str):
        raise StartupError(f"Process {lock} is writing a backup into {folder}. Wait until it has ended.")
    with lock:
        for left_behind in folder.glob(f"*{_INCOMPLETE}"):
            shutil.rmtree(left_behind, ignore_errors=True)
        yield


def newest_backup(folder: Path) -> Path | None:
    """The newest of the backups in a folder."""
    names = [entry for entry in folder.iterdir() if _NAME.fullmatch(entry.name) and (entry / MANIFEST).exists()]
    return max(names, default=None)


def create_backup(folder: Path, source: Source, began_at: datetime) -> CreatedBackup:
    """Make a backup in a folder that is locked. What fails leaves nothing behind.

    Args:
        folder: Where the backups are.
        source: What is backed up.
        began_at: When the backup was begun.

    Raises:
        StartupError: Something can't be read or written.
    """
    name = began_at.strftime("%Y-%m-%dT%H%M%SZ")
    taken = sum(1 for entry in folder.iterdir() if entry.name.partition("Z")[0] == name.partition("Z")[0])
    name = f"{name}-{taken + 1}" if taken else name
    draft = folder / f"{name}{_INCOMPLETE}"
    try:
        created = _write(draft, newest_backup(folder), source, began_at)
        draft.rename(folder / name)
        sync_names(folder)
    except OSError as error:
        source.require_whole()
        raise StartupError(_why(error, folder)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return created._replace(path=folder / name)


def _write(draft: Path, base: Path | None, source: Source, began_at: datetime) -> CreatedBackup:
    content = draft / CONTENT
    draft.mkdir(mode=0o700)
    originals, links = _listed(source)
    known = _known(base)
    unchanged = {
        path: known[path]
        for path, original in originals.items()
        if path in known and (known[path].size, known[path].changed_at) == (original.st_size, original.st_mtime_ns)
    }
    _require_room(draft, sum(found.st_size for path, found in originals.items() if path not in unchanged))
    make_folders(content, originals)
    linked = {
        path: file
        for path, file in unchanged.items()
        if base and _linked(base / CONTENT / path, content / path, file.size)
    }
    added = {
        path: BackedUpFile(size, digest, originals[path].st_mtime_ns)
        for path, size, digest in copy_files(source.root, content, [path for path in originals if path not in linked])
    }
    if source.write_control:
        name = source.write_control(content)
        added[name] = _noted(content / name)
    sync_folders(content)
    source.require_whole()
    manifest = Manifest(
        version=importlib.metadata.version("postback"),
        began_at=rfc3339(began_at),
        control=source.control,
        files=linked | added,
        links=links,
    )
    write_manifest(draft, manifest)
    return CreatedBackup(draft, len(manifest.files), manifest.size, sum(file.size for file in added.values()))


def _listed(source: Source) -> tuple[dict[str, os.stat_result], dict[str, str]]:
    """The files of a source and its symbolic links, by their paths."""
    files: dict[str, os.stat_result] = {}
    links: dict[str, str] = {}
    for folder, folders, names in walk(source.root):
        inside = folder.relative_to(source.root)
        folders[:] = [name for name in folders if str(inside / name) not in source.left_out]
        for name in [*folders, *names]:
            entry, path = folder / name, str(inside / name)
            found = entry.lstat()
            if stat.S_ISLNK(found.st_mode):
                links[path] = str(entry.readlink())
            elif stat.S_ISREG(found.st_mode) and path not in source.left_out:
                files[path] = found
    return files, links


def _known(base: Path | None) -> dict[str, BackedUpFile]:
    """The files of the newest backup; of one that is damaged none, so that nothing is built on it."""
    try:
        return read_manifest(base).files if base else {}
    except StartupError:
        return {}


def _require_room(draft: Path, size: int) -> None:
    free = shutil.disk_usage(draft).free
    if size > free:
        raise StartupError(
            f"The backup needs {size / 1e6:,.0f} MB, and the disk of {draft.parent} has {free / 1e6:,.0f} MB left. "
            "Make room, for example by deleting old backups, and run it again."
        )


def _linked(known: Path, target: Path, size: int) -> bool:
    """Make a hard link; returns whether that was possible."""
    try:
        if known.stat().st_size != size:
            return False
        target.hardlink_to(known)
    except OSError:  # the file is missing, or the disk has no hard links, or no more of this file
        return False
    return True


def _noted(file: Path) -> BackedUpFile:
    with file.open("rb") as written:
        os.fsync(written.fileno())
    found = file.stat()
    return BackedUpFile(found.st_size, sha256_of(file), found.st_mtime_ns)


def _why(error: OSError, folder: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"The disk of {folder} is full. Make room, for example by deleting old backups, and run it again."
    return f"The backup can't be written ({error.strerror}: {error.filename}). Nothing is left of it."
