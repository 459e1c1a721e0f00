"""Where an installation is moved to: a ClickHouse and a PostgreSQL server, or a new data folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from sqlalchemy import make_url

from postback.clickhouse_url import ClickHouseUrl
from postback.config import Settings
from postback.errors import StartupError
from postback.moving.control_copy import holds_nothing
from postback.moving.event_tables import EVENT_TABLES
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir, write_durably
from postback.store.event_engine import EventEngine
from postback.store.event_schema import drop_materialized_views, upgrade
from postback.store.fingerprint import Fingerprint, stored

__all__ = ["Destination", "open_destination"]

_PASSWORD = "PASSWORD"  # noqa: S105 what is printed in its place
_CARRIED = ("imports", "quarantine")
"""Folders of a data folder that belong to the installation, and not to its stores."""


@dataclass(frozen=True)
class Destination:
    """The stores of the new place, in the newest schema. Nobody else uses them.

    Attributes:
        place: How messages name it.
        client: Of its event store, whose materialized views are dropped.
        control: Its control store.
        folder: Its data folder, if it is one; else it goes on with the folder that is left.
        settings: What to set for a server that uses it, without passwords.
        arrived: Whether the installation is there, and may be in use.
    """

    place: str
    client: Client
    control: ControlStore
    folder: DataDir | None
    settings: tuple[str, ...]
    arrived: bool

    def carry_files(self, source: DataDir) -> None:
        """Copy the files that belong to the installation into a new data folder."""
        if self.folder is None:
            return
        for name in _CARRIED:
            if (source.path / name).is_dir():
                shutil.copytree(source.path / name, self.folder.path / name, dirs_exist_ok=True)
        if previous := source.previous_secrets():
            write_durably(self.folder.path / "secret.previous", "".join(f"{secret.hex()}\n" for secret in previous))


@contextmanager
def open_destination(settings: Settings, secret: bytes, fingerprint: Fingerprint) -> Iterator[Destination]:
    """Open the place to which an installation is moved.

    Args:
        settings: Of a server in the new place: both stores on servers, or neither.
        secret: The installation's.
        fingerprint: The installation's.

    Raises:
        StartupError: It can't be used, or another installation does.
    """
    with ExitStack() as opened:
        folder = None
        if settings.events is None:
            folder = opened.enter_context(closing(DataDir.open(settings.data, secret.hex())))
            if folder.secret != secret:
                raise StartupError(
                    f"{folder.path} is the data folder of another installation. Name one that is empty or missing."
                )
        control = opened.enter_context(
            closing(ControlStore(settings.control or f"sqlite:///{settings.data}/control.db"))
        )
        control.migrate()
        arrived = _arrived(control, fingerprint)
        engine = EventEngine(settings.events or f"chdb://{settings.data}/events")
        engine.check()
        try:
            client = opened.enter_context(closing(engine.client()))
            if not arrived:
                _require_own(client, engine, fingerprint)
        except (ClickHouseError, OSError) as error:
            raise engine.unusable(error) from error
        if folder:
            opened.callback(setattr, tempfile, "tempdir", None)
            tempfile.tempdir = str(folder.scratch)  # by files there chDB takes its inserts
        yield Destination(engine.place, client, control, folder, _shown(settings), arrived)


def _arrived(control: ControlStore, fingerprint: Fingerprint) -> bool:
    found = stored(control)
    if (found and found.fingerprint != fingerprint) or not (found or holds_nothing(control)):
        raise StartupError(
            "Another installation has its control data in the database that --control names. Create an empty one."
        )
    return found is not None


def _require_own(client: Client, engine: EventEngine, fingerprint: Fingerprint) -> None:
    """Prepare an event store that is new, or into which this installation was being moved; nobody starts on it."""
    known = client.query(
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'installation'"
    ).result_rows[0][0]
    query = "SELECT installation_id, secret_check, sandbox, rotation FROM installation ORDER BY rotation DESC LIMIT 1"
    found = [Fingerprint(*row) for row in client.query(query).result_rows] if known else []
    if found and found != [fingerprint]:
        raise StartupError(f"Another installation has its events in {engine.place}. Create an empty database.")
    upgrade(client, tables=engine.tables)
    if not found and any(client.query(f"SELECT 1 FROM {table.name} LIMIT 1").result_rows for table in EVENT_TABLES):  # noqa: S608
        raise StartupError(f"There are events in {engine.place} already. Create an empty database.")
    drop_materialized_views(client)
    if not found:
        client.insert("installation", [list(fingerprint)], column_names=list(Fingerprint._fields))


def _shown(settings: Settings) -> tuple[str, ...]:
    if settings.events is None or settings.control is None:
        return (f"POSTBACK_DATA={settings.data}",)
    events = replace(ClickHouseUrl.parse(settings.events), password=_PASSWORD)
    control = make_url(settings.control).set(drivername="postgresql")
    return (
        f"POSTBACK_EVENTS={events.text}",
        f"POSTBACK_CONTROL={control.render_as_string()}",
        f"POSTBACK_DATA={settings.data}",
    )
