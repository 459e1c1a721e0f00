"""The installation: its stores are opened together, and only if they belong to each other.

The fingerprint in both stores says which secret, control store, event store and kind of server do.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import insert, select

from postback.clock import Clock
from postback.errors import StartupError, StoreUnavailable
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir, write_durably
from postback.store.event_store import EventStore
from postback.store.fingerprint import (
    Fingerprint,
    StoredFingerprint,
    complete_fingerprint,
    fingerprint_in,
    require_not_moved,
    stored,
)
from postback.store.insert_tokens import forget_tokens_without_parts
from postback.store.placements import list_shards
from postback.store.receipt_times import ReceiptTimes
from postback.store.tables import account, installation

__all__ = [
    "FIRST_ACCOUNT",
    "note_commits",
    "open_control_store",
    "open_event_store",
    "open_shared_event_store",
    "prepare_event_store",
]

FIRST_ACCOUNT = "default"
"""The account that a first start creates; it is a sandbox's if the server is one."""

_BACKUP = "Restore both stores and secret.key from one backup"


def open_control_store(
    folder: DataDir, url: str | None, events_url: str | None = None, *, rotating: bool = False, moving: bool = False
) -> ControlStore:
    """Open the control store that belongs to a data folder, in the newest schema.

    Args:
        folder: The folder.
        url: The database, if it isn't the file in the folder.
        events_url: The event store, if it isn't in the folder.
        rotating: Whether this is to replace the secret, or to complete an interrupted replacement.
        moving: Whether this is to move the installation elsewhere, or to complete that.

    Raises:
        StartupError: It can't be opened, it is missing, damaged or older than it was, it is another installation's, or
            the installation has moved.
    """
    if folder.next_secret and folder.next_secret != folder.given_secret and not rotating:
        raise StartupError(
            f"The replacement of the secret in {folder.path} was interrupted. Complete it: postback secret rotate"
        )
    if url is None and folder.has_events and not folder.has_control:
        raise StartupError(
            f"{folder.path}/control.db is missing or empty, but {folder.path}/events belongs to it. Restore "
            "control.db, and control.db-wal if the backup has one, or choose another folder with --data."
        )
    with ExitStack() as undo:
        control = ControlStore(url or folder.control_url)
        undo.callback(control.close)
        if url is None:
            _check_commits(folder, control)  # before anything is written, which would keep control.db-wal from fitting
        control.migrate()
        control.let_shrink()
        found = stored(control)
        if not moving:
            require_not_moved(found)
        _check_secret(folder, url, found.fingerprint if found else None, rotating=rotating)
        if found and found.complete and not (events_url or folder.has_events):
            raise _lost_events(f"{folder.path}/events")
        undo.pop_all()
    return control


def open_event_store(
    folder: DataDir,
    control: ControlStore,
    url: str | None = None,
    *,
    sandbox: bool | None = None,
    clock: Clock | None = None,
    times: ReceiptTimes | None = None,
    patience: float = 0,
) -> EventStore:
    """Open the event store of a data folder, in the newest schema; at the first start, note the installation in both.

    Args:
        folder: The folder.
        control: Its control store.
        url: The event store, if it isn't in the folder.
        sandbox: Whether the server is a sandbox; None for a command, which may work on either.
        clock: The time, for receipt times.
        times: Of a server with several event stores, which issues them for all; None makes them.
        patience: Seconds for which to wait for a server of ClickHouse that can't be reached.

    Raises:
        StartupError: It can't be opened, or it belongs to another control store, secret or kind of server.
    """
    found = stored(control)
    if found:
        _check_kind(folder, found.fingerprint.sandbox, sandbox)
    if url is None:
        forget_tokens_without_parts(folder.path / "events")
    with ExitStack() as undo:
        events = EventStore.open(url or folder.events_dsn, folder.scratch, clock, patience, times)
        undo.callback(events.close)
        in_events = fingerprint_in(events)
        if found is None and in_events:
            raise StartupError(
                f"The event store in {events.engine.place} belongs to a control store that is not this one: this one "
                f"is new, or older than the installation. {_BACKUP}."
            )
        if found is None:
            found = _adopt(folder, control, events, sandbox)
        if found:
            _compare(folder, control, events, found, in_events)
        undo.pop_all()
    return events


def open_shared_event_store(control: ControlStore, url: str, times: ReceiptTimes | None = None) -> EventStore:
    """Open the event store on a server, for a command that has no data folder.

    Raises:
        EngineUnreachable: The server can't be reached.
        StartupError: It can't be opened, or it belongs to another control store.
    """
    found = stored(control)
    with ExitStack() as undo:
        events = EventStore.open(url, Path(tempfile.gettempdir()), times=times)
        undo.callback(events.close)
        if found is None or fingerprint_in(events) != found.fingerprint:
            raise StartupError(
                f"POSTBACK_CONTROL and the event store in {events.engine.place} belong to different installations, or "
                "no server has started on them. Set POSTBACK_CONTROL and POSTBACK_EVENTS as on the other servers."
            )
        undo.pop_all()
    return events


def prepare_event_store(control: ControlStore, url: str) -> EventStore:
    """Open an empty database of ClickHouse as a further event store of an installation, and note that it is one.

    Raises:
        StartupError: It can't be opened, it has events or belongs to an installation, or no server has started yet.
    """
    found = stored(control)
    if found is None:
        raise StartupError("No server has used this control store. Start 'postback serve' once first.")
    with ExitStack() as undo:
        events = EventStore.open(url, Path(tempfile.gettempdir()))
        undo.callback(events.close)
        if fingerprint_in(events) or events.last_received_at():
            raise StartupError(
                f"{events.engine.place} has the events of an installation. A further shard begins with an empty "
                "database: create one."
            )
        events.execute("note_installation", **found.fingerprint._asdict())
        undo.pop_all()
    return events


def note_commits(folder: DataDir, control: ControlStore) -> None:
    """Note in the folder how many transactions the control store has had, so that a loss of some is noticed.

    Raises:
        StoreUnavailable: The control store doesn't answer, or the folder can't be written.
    """
    commits = control.commits()
    try:
        if commits != _noted_commits(folder):
            write_durably(folder.commit_mark, f"{commits}\n")
    except OSError as error:
        raise StoreUnavailable("The data folder can't be written.", retry_after=1) from error


def _check_commits(folder: DataDir, control: ControlStore) -> None:
    control.check_pages()
    missing = _noted_commits(folder) - control.commits()
    if missing > 0:
        raise StartupError(
            f"{folder.path}/control.db lacks its last changes ({missing:,} or more): it is an older copy, or its file "
            "control.db-wal was removed. Put control.db and control.db-wal of the same moment back. If those changes "
            f"may be lost, delete {folder.commit_mark}; then start again."
        )


def _noted_commits(folder: DataDir) -> int:
    file = folder.commit_mark
    text = file.read_text().strip() if file.exists() else "0"
    if not text.isdecimal():
        raise StartupError(f"{file} must contain a number. Delete it: the next start writes it anew.")
    return int(text)


def _adopt(
    folder: DataDir, control: ControlStore, events: EventStore, sandbox: bool | None
) -> StoredFingerprint | None:
    """Note the installation of a new folder, or of one that was made before there were fingerprints."""
    with control.connect() as connection:
        kinds = {row.account_id: row.sandbox for row in connection.execute(select(account))}
    if not kinds and events.last_received_at():
        raise StartupError(
            f"The control store is new, but {events.engine.place} contains events that belong to another. {_BACKUP}, "
            "or choose another folder with --data."
        )
    if FIRST_ACCOUNT in kinds:
        _check_kind(folder, kinds[FIRST_ACCOUNT], sandbox)
    if sandbox is None:
        return None
    fingerprint = Fingerprint.new(folder.secret, sandbox=sandbox)
    with control.begin() as connection:
        connection.execute(insert(installation).values(fingerprint._asdict() | {"complete": False}))
    return StoredFingerprint(fingerprint, complete=False)


def _compare(
    folder: DataDir,
    control: ControlStore,
    events: EventStore,
    found: StoredFingerprint,
    in_events: Fingerprint | None,
) -> None:
    if in_events is None and found.complete:
        raise _lost_events(events.engine.place)
    interrupted = in_events and not found.complete and in_events.installation_id == found.fingerprint.installation_id
    if in_events and in_events != found.fingerprint and not interrupted:
        raise StartupError(
            f"The control store and the event store in {events.engine.place} belong to different installations, or are "
            f"from before and after a replacement of the secret. {_BACKUP}."
        )
    if not found.complete:
        events.execute("note_installation", **found.fingerprint._asdict())
        if len(list_shards(control)) == 1:
            complete_fingerprint(control, [], found.fingerprint)


def _check_kind(folder: DataDir, was: bool, sandbox: bool | None) -> None:
    if sandbox is None or was == sandbox:
        return
    if sandbox:
        raise StartupError(
            f"{folder.path} is the data folder of a production server. A sandbox accepts keys that everybody knows, so "
            "it would open these data to all. Choose another folder with --data, or start without --sandbox and "
            "POSTBACK_SANDBOX."
        )
    raise StartupError(
        f"{folder.path} is the data folder of a sandbox: nothing in it is real. Choose another folder with --data for "
        "a production server, or start with --sandbox."
    )


def _check_secret(folder: DataDir, url: str | None, fingerprint: Fingerprint | None, *, rotating: bool) -> None:
    """Check that the secret is the installation's; one that replaced the folder's elsewhere is taken up."""
    given = folder.given_secret
    if given and given != folder.secret and not (rotating and given == folder.next_secret):
        if fingerprint is None or not fingerprint.fits(given):
            raise _foreign_given_secret(folder, fingerprint)
        folder.prepare_secret(given)
        folder.replace_secret()
    if fingerprint and not any(map(fingerprint.fits, filter(None, (folder.secret, folder.next_secret)))):
        raise _foreign_given_secret(folder, fingerprint) if given else _foreign_secret(folder, url)


def _foreign_given_secret(folder: DataDir, fingerprint: Fingerprint | None) -> StartupError:
    if fingerprint and fingerprint.fits(folder.secret):
        return StartupError(
            "POSTBACK_SECRET is not the secret of this installation: with it, new identifiers would not match the "
            f"stored ones. {folder.path}/secret.key has the right one; put its content into POSTBACK_SECRET, as is "
            "necessary after 'postback secret rotate'."
        )
    return StartupError(
        "POSTBACK_SECRET is not the secret of this installation: with it, new identifiers would not match the stored "
        "ones. Set it to the content of secret.key in the data folder of a server that works on these data, or correct "
        "POSTBACK_CONTROL."
    )


def _foreign_secret(folder: DataDir, url: str | None) -> StartupError:
    control = "POSTBACK_CONTROL" if url else "control.db"
    return StartupError(
        f"{folder.path}/secret.key is not the secret of the installation whose accounts are in {control}: with it, new "
        "identifiers would not match the stored ones. Restore secret.key from a backup of this installation"
        + (", or correct POSTBACK_CONTROL." if url else ".")
    )


def _lost_events(place: str) -> StartupError:
    return StartupError(
        f"The event store in {place} is missing or empty, but this installation has one. If it is elsewhere, mount its "
        "disk or correct POSTBACK_EVENTS; else restore it from a backup, or choose another folder with --data."
    )
