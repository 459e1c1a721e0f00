"""Restoring a backup into a new data folder, and checking that one is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from postback.backups.creating import newest_backup
from postback.backups.files import copy_files, make_folders, sha256_of, sync_folders
from postback.backups.manifest import CONTENT, MANIFEST, Manifest, read_manifest
from postback.errors import StartupError
from postback.store.data_folder import OF_THE_SYSTEM, RESTORING, sync_names

__all__ = ["damages", "opened_backup", "restore_backup"]


def opened_backup(backup: Path) -> Manifest:
    """The manifest of the backup in a folder.

    Raises:
        StartupError: It has none, or a damaged one.
    """
    if backup.is_dir() and not (backup / MANIFEST).exists() and (newest := newest_backup(backup)):
        raise StartupError(f"{backup} has several backups. Name the one to restore; the newest is {newest}.")
    return read_manifest(backup)


def damages(backup: Path, manifest: Manifest) -> Iterator[str]:
    """What is wrong with the files of a backup, a sentence each; nothing if it is whole."""
    for path, file in manifest.files.items():
        try:
            whole = sha256_of(backup / CONTENT / path) == file.sha256
        except OSError as error:
            yield f"{path} can't be read ({error.strerror})."
        else:
            if not whole:
                yield f"{path} is not what was written."


def restore_backup(backup: Path, manifest: Manifest, data: Path) -> None:
    """Restore a backup into a data folder that is missing or empty. Each file is verified as it is copied.

    Servers and commands refuse a folder in which a restore did not end.

    Raises:
        StartupError: The folder is not empty or can't be written, or the backup is damaged; the folder is empty then.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _content(data):
            raise StartupError(f"{data} is not empty. Restore into a new folder, and name it with --data.")
        data.chmod(0o700)
        (data / RESTORING).touch(mode=0o600, exist_ok=False)
        sync_names(data)
        try:
            _copy(backup / CONTENT, manifest, data)
        except BaseException:
            _empty(data)
            raise
        (data / RESTORING).unlink()
        sync_names(data)
    except OSError as error:
        raise StartupError(f"The backup can't be restored ({error.strerror}: {error.filename}).") from error


def _copy(content: Path, manifest: Manifest, data: Path) -> None:
    make_folders(data, [*manifest.files, *manifest.links])
    try:
        for path, size, digest in copy_files(content, data, list(manifest.files)):
            file = manifest.files[path]
            if (size, digest) != (file.size, file.sha256):
                raise _damaged(content, f"{path} is not what was written")
            os.utime(data / path, ns=(file.changed_at, file.changed_at))
    except FileNotFoundError as error:
        raise _damaged(content, f"{error.filename} is missing") from error
    for path, target in manifest.links.items():
        (data / path).symlink_to(target)
    sync_folders(data)


def _content(data: Path) -> list[Path]:
    return [entry for entry in data.iterdir() if entry.name not in OF_THE_SYSTEM]


def _empty(data: Path) -> None:
    """Delete what was restored, and last the note that it is incomplete."""
    for entry in _content(data):
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != RESTORING:
            entry.unlink()
    if [entry.name for entry in _content(data)] == [RESTORING]:
        (data / RESTORING).unlink()


def _damaged(content: Path, what: str) -> StartupError:
    return StartupError(
        f"The backup {content.parent} is damaged: {what}. Nothing was restored. Use another backup; 'postback restore "
        "--verify' lists all that is damaged in this one."
    )
