"""postback secret: the secret that keys the hashes of identifiers."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from typing import NamedTuple

import click

from postback.cli.control import data_option, require_folder
from postback.config import load_settings
from postback.errors import StartupError
from postback.forwarding.encryption import Encryptor
from postback.forwarding.outbox import Outbox
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.fingerprint import StoredFingerprint, complete_fingerprint, replace_fingerprint, stored
from postback.store.flusher import drain
from postback.store.installation import open_control_store
from postback.store.shards import open_shards
from postback.transports.a2a_tasks import forget_tasks

__all__ = ["secret"]

_CONSEQUENCES = """\
Replacing the secret cannot be undone:

- Events that arrive from now on don't match exposures that were stored before: identifiers are stored as keyed hashes
  only, which can't be made anew. Copies of old events are still recognized by their event_id.
- Conversions that are attributed already stay as they are.
- Events that wait to be forwarded are encrypted anew. A2A tasks of the last day can't be read again with tasks/get.
- Click links that were made before go on working. Delete secret.previous when none is in use any more: until then,
  whoever knows the old secret can forge clicks.
- Old backups still contain the old secret.
"""


class _Replaced(NamedTuple):
    deliveries: int
    tasks: int


@click.group()
def secret() -> None:
    """Manage the secret that keys the hashes of identifiers."""


@secret.command()
@click.option("--yes", is_flag=True, help="Do it: without it, the command only says what it would do.")
@data_option
def rotate(yes: bool, data: str | None) -> None:
    """Replace the secret while the server is stopped, for example because others could read it.

    If interrupted, run the same command again.
    """
    settings = load_settings(os.environ, data=data)
    require_folder(settings)
    if not yes:
        click.echo(_CONSEQUENCES)
        raise StartupError("Nothing was changed. To replace the secret, run the command again with --yes.")
    with ExitStack() as opened:
        folder = opened.enter_context(closing(DataDir.open(settings.data, settings.secret)))
        control = opened.enter_context(
            closing(open_control_store(folder, settings.control, settings.events, rotating=True))
        )
        shards = opened.enter_context(closing(open_shards(folder, control, settings.events)))
        shards.require_all()
        found = stored(control)
        if found is None:
            raise StartupError(f"No server of this version has used {folder.path}. Start 'postback serve' once first.")
        drain(folder, shards, control)
        new = folder.prepare_secret()
        replaced = _replace(control, found, folder.secret, new)
        complete_fingerprint(control, shards, (stored(control) or found).fingerprint)
        folder.replace_secret()
    click.echo(
        f"The secret is replaced; {replaced.deliveries:,} waiting deliveries are encrypted anew, {replaced.tasks:,} "
        "A2A tasks are deleted. Back the data folder up now: older backups have the old secret."
    )
    if settings.secret:
        click.echo(
            f"Now set POSTBACK_SECRET to the content of {folder.path}/secret.key for every server, then start them."
        )


def _replace(control: ControlStore, found: StoredFingerprint, old: bytes, new: bytes) -> _Replaced:
    """Have the control store know the new secret, and nothing in it need the old one; does nothing a second time."""
    with control.begin() as connection:
        if found.fingerprint.fits(new):
            return _Replaced(0, 0)
        deliveries = Outbox(control).reencrypt(connection, Encryptor(old), Encryptor(new))
        tasks = forget_tasks(connection)
        replace_fingerprint(connection, found.fingerprint.rotated(new))
    return _Replaced(deliveries, tasks)
