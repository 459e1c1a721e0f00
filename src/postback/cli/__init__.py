"""The command line: a thin layer over the server and its stores."""

from __future__ import annotations

import os
from typing import Any

import click

from postback.cli.accounts import accounts
from postback.cli.attribute import attribute
from postback.cli.conformance import conformance
from postback.cli.demo.command import demo
from postback.cli.exposures import exposures
from postback.cli.forwards import forwards
from postback.cli.keys import keys
from postback.cli.log import log
from postback.cli.secret import secret
from postback.cli.send.command import send
from postback.cli.serve import serve
from postback.cli.sources import sources
from postback.errors import PostbackError, StartupError

__all__ = ["main"]

_ONLY_THE_OWNER = 0o077
"""What any command writes is nobody else's to read: the stores, their logs, and files with rejected rows."""


class _CommandError(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """Commands that print an error as one sentence and exit with status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StartupError as error:
            raise _CommandError(str(error)) from error
        except PostbackError as error:
            raise _CommandError(f"{error.message} {error.suggestion}") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="postback")
def main() -> None:
    """Postback receives conversions for AdCP sellers and stores each exactly once."""
    os.umask(_ONLY_THE_OWNER)


for command in (serve, demo, send, exposures, attribute, accounts, keys, sources, forwards, log, secret, conformance):
    main.add_command(command)
