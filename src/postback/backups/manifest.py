"""The manifest of a backup: its files, and how to tell that they are whole. It is written last."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from postback.errors import StartupError
from postback.store.data_folder import write_durably

__all__ = ["CONTENT", "MANIFEST", "BackedUpFile", "Manifest", "read_manifest", "write_manifest"]

MANIFEST = "manifest.json"
CONTENT = "data"
"""The folder in a backup that has the files of the data folder."""

_FORMAT = 1


class BackedUpFile(msgspec.Struct, frozen=True):
    """A file.

    Attributes:
        size: In bytes.
        sha256: Of its content, as hexadecimal digits.
        changed_at: When the original was last changed, in ns since the epoch.
    """

    size: int
    sha256: str
    changed_at: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A backup. Paths are relative to its folder of content, with ``/`` between their parts.

    Attributes:
        format: Of backups; 1.
        version: Of the Postback that made it.
        began_at: When it was begun, in RFC 3339. Everything that was acknowledged before is in it.
        control: Where the control store is.
        files: By path.
        links: Symbolic links by path, and where they lead.
    """

    format: int = _FORMAT
    version: str
    began_at: str
    control: Literal["sqlite", "postgresql"]
    files: dict[str, BackedUpFile]
    links: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def write_manifest(backup: Path, manifest: Manifest) -> None:
    """Write the manifest of a backup, durably.

    Raises:
        OSError: It can't be written.
    """
    document = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    write_durably(backup / MANIFEST, document.decode())


def read_manifest(backup: Path) -> Manifest:
    """The manifest of a backup.

    Raises:
        StartupError: There is none, or it isn't what was written.
    """
    try:
        manifest = msgspec.json.decode((backup / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise StartupError(
            f"{backup} is not a backup: it has no {MANIFEST}, which is written last. Name a folder that 'postback "
            "backup' made."
        ) from None
    except OSError as error:
        raise StartupError(f"The backup {backup} can't be read ({error.strerror}).") from error
    except msgspec.DecodeError as error:
        raise _damaged(backup, f"{MANIFEST} is not what was written") from error
    if manifest.format != _FORMAT:
        raise StartupError(
            f"The backup {backup} was made by Postback {manifest.version}, in a form that this version does not read. "
            "Restore it with that version."
        )
    for path in manifest.files.keys() | manifest.links.keys():
        if not _is_inside(path):
            raise _damaged(backup, f"{MANIFEST} names {path!r}")
    for path, target in manifest.links.items():
        if not _is_inside(os.path.normpath(PurePosixPath(path).parent / target)):
            raise _damaged(backup, f"{MANIFEST} has a link to {target!r}")
    return manifest


def _damaged(backup: Path, what: str) -> StartupError:
    return StartupError(f"The backup {backup} is damaged: {what}. Use another.")


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and parts.parts != () and "\0" not in path
