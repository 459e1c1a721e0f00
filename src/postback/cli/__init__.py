"""The command line: a thin layer over the server and its stores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import click

from postback.errors import PostbackError, StartupError, StoreUnavailable

__all__ = ["main"]

_ONLY_THE_OWNER = 0o077
"""What any command writes is nobody else's to read: the stores, their logs, and files with rejected rows."""


_CHECK_STORES = (
    "Check that the databases answer, that their disks have room, and that no other session keeps a table locked, then "
    "run the command again."
)


class _CommandError(click.ClickException):
    exit_code = 2


_COMMANDS = {
    "accounts": "accounts",
    "attribute": "attribute",
    "backup": "backup",
    "conformance": "conformance",
    "console-keys": "console_keys",
    "demo": "demo.command",
    "exposures": "exposures",
    "forwards": "forwards",
    "keys": "keys",
    "log": "log",
    "move": "move",
    "nodes": "nodes",
    "restore": "restore",
    "secret": "secret",
    "send": "send.command",
    "serve": "serve",
    "shards": "shards",
    "sources": "sources",
}
"""The module of each command, which has the command's name, with '_' for '-'."""


class _Modules(Mapping[str, click.Command]):
    """The commands, each imported when it is looked up: all of them take seconds."""

    def __getitem__(self, name: str) -> click.Command:
        command: click.Command = getattr(import_module(f"postback.cli.{_COMMANDS[name]}"), name.replace("-", "_"))
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class _Commands(click.Group):
    """Commands that print an error as one sentence and exit with status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StartupError as error:
            raise _CommandError(str(error)) from error
        except StoreUnavailable as error:  # what it suggests is for callers of a server
            raise _CommandError(f"{error.message} {_CHECK_STORES}") from error
        except PostbackError as error:
            raise _CommandError(f"{error.message} {error.suggestion}") from error


@click.group(
    cls=_Commands,
    commands=_Modules(),
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(package_name="postback")
def main() -> None:
    """Postback receives conversions for AdCP sellers and stores each exactly once."""
    os.umask(_ONLY_THE_OWNER)
