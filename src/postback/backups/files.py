"""Files of backups: copied durably, and only readable for their owner."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from postback.store.data_folder import sync_names

__all__ = ["copy_files", "make_folders", "sha256_of", "sync_folders", "walk"]

_CHUNK_BYTES = 1 << 20
_COPIERS = 8
"""Files that are copied at a time: most are small, and each waits for the disk."""


def copy_files(source: Path, target: Path, paths: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Copy files, several at a time, into new ones below ``target``, whose folders are there and whose content is
    durable when they are returned.

    Returns:
        Each path, with the file's size in bytes and its SHA-256.

    Raises:
        OSError: A file can't be read or written.
    """
    with ThreadPoolExecutor(_COPIERS) as copiers:
        copied = copiers.map(lambda path: _copy(source / path, target / path), paths)
        for path, (size, digest) in zip(paths, copied, strict=True):
            yield path, size, digest


def _copy(source: Path, target: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as reading, os.fdopen(file, "wb") as writing:
        while chunk := reading.read(_CHUNK_BYTES):
            digest.update(chunk)
            writing.write(chunk)
            size += len(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return size, digest.hexdigest()


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        OSError: It can't be read.
    """
    with file.open("rb") as reading:
        return hashlib.file_digest(reading, "sha256").hexdigest()


def make_folders(root: Path, paths: Iterable[str]) -> None:
    """Make the folders in which these paths below ``root`` lie, and ``root``."""
    root.mkdir(mode=0o700, exist_ok=True)
    folders = {parent for path in paths for parent in (root / path).parents if root in parent.parents}
    for folder in sorted(folders):
        folder.mkdir(mode=0o700, exist_ok=True)


def sync_folders(root: Path) -> None:
    """Make the names of all files below a folder durable.

    Raises:
        OSError: They can't be.
    """
    for folder, _, _ in walk(root):
        sync_names(folder)


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder from ``root`` down, with the names of its folders, of which the caller may remove some, and files.

    Raises:
        OSError: A folder can't be read, or is not there.
    """
    for folder, folders, names in os.walk(root, onerror=_fail):
        yield Path(folder), folders, names


def _fail(error: OSError) -> None:
    raise error
