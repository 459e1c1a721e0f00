"""Options of the commands that read files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from postback.errors import StartupError

__all__ = ["check_rejects", "one_character", "pairs", "remove_rejects"]


def check_rejects(rejects: Path, file: Path) -> None:
    """Check that the file of rejected records is another one than the file that is read.

    Raises:
        StartupError: It is the same.
    """
    if rejects.exists() and file.exists() and rejects.samefile(file):
        raise StartupError(f"--rejects names {file} itself, which would be overwritten. Name another file.")


def pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """The values of an option that is given as FIELD=VALUE, once or more.

    Raises:
        StartupError: One is something else.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise StartupError(
                f"{option} needs FIELD=VALUE, for example {option} event_id=order_number. It is {text!r}."
            )
        found[name.strip()] = value
    return found


def one_character(separator: str | None) -> str | None:
    """A separator of cells; the word ``tab`` and the two characters ``\\t`` stand for the tab.

    Raises:
        StartupError: It is more than one character.
    """
    if separator is None:
        return None
    separator = {"tab": "\t", "\\t": "\t"}.get(separator.lower(), separator)
    if len(separator) != 1 or separator in '"\r\n':
        raise StartupError("--separator needs one character, for example ';'. For the tab, write tab.")
    return separator


def remove_rejects(rejects: Path) -> None:
    """Delete the rejected records of an earlier run.

    Raises:
        StartupError: The folder can't be written.
    """
    try:
        if rejects.is_file():  # never a device such as /dev/null
            rejects.unlink()
    except OSError as error:
        raise StartupError(
            f"{rejects} can't be deleted: {error.strerror}. Name another file with --rejects."
        ) from error
