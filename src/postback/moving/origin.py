"""Where an installation is moved from: the stores of these settings, while servers use them and when none does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from postback.backups.sources import server_snapshot
from postback.config import Settings
from postback.errors import StartupError
from postback.store.control_store import ControlStore, one_start_at_a_time
from postback.store.data_folder import DataDir, secret_in, try_lock
from postback.store.event_engine import EventEngine
from postback.store.event_schema import MIGRATIONS
from postback.store.fingerprint import StoredFingerprint, stored
from postback.store.flusher import drain
from postback.store.installation import open_control_store
from postback.store.nodes import nodes_at_work
from postback.store.placements import FIRST_SHARD, list_shards
from postback.store.shards import open_shards

__all__ = ["Origin", "StoppedOrigin", "open_origin"]


class StoppedOrigin(NamedTuple):
    """The stores when no server uses them, with everything that was acknowledged."""

    folder: DataDir
    control: ControlStore
    client: Client


@dataclass(frozen=True)
class Origin:
    """The stores that an installation leaves.

    Attributes:
        settings: Of its servers.
        control: Its control store.
        secret: Its secret.
        found: Its fingerprint.
    """

    settings: Settings
    control: ControlStore
    secret: bytes
    found: StoredFingerprint

    def users(self) -> list[str]:
        """What uses the stores at present, or has not stored all that it received."""
        lock = try_lock(self.settings.data / "lock")
        if isinstance(lock, str):
            own = [f"process {lock} on {self.settings.data}"]
        else:
            lock.close()
            own = []
        if not self.control.shared:
            return own
        file = self.settings.data / "node"
        others = nodes_at_work(self.control, file.read_text().strip() if file.exists() else "")
        return own + [f"node {node.number} on {node.place}, last seen {node.silent_seconds} s ago" for node in others]

    @contextmanager
    def live(self) -> Iterator[Client]:
        """A client of what is stored at this moment, while servers store more.

        Raises:
            StartupError: It can't be read.
        """
        with ExitStack() as opened:
            if self.settings.events:
                engine = EventEngine(self.settings.events)
            else:
                lock = try_lock(self.settings.data / "lock")
                if not isinstance(lock, str):
                    lock.close()
                    raise StartupError("The server ended.")
                snapshot = opened.enter_context(server_snapshot(self.settings.data, self.settings.control, lock))
                engine = EventEngine(f"chdb://{snapshot.root}/events")
            engine.check()
            try:
                client = opened.enter_context(closing(engine.client()))
                _leave_parts(engine, client)
                _require_schema(client)
            except (ClickHouseError, OSError) as error:
                raise engine.unusable(error) from error
            yield client

    @contextmanager
    def stopped(self) -> Iterator[StoppedOrigin]:
        """The stores, which no server can use meanwhile.

        Raises:
            StartupError: A server uses them, or they can't be opened.
            StoreUnavailable: What a server left in its log can't be stored.
        """
        settings = self.settings
        with one_start_at_a_time(settings.control), ExitStack() as opened:
            folder = opened.enter_context(closing(DataDir.open(settings.data, settings.secret)))
            control = opened.enter_context(
                closing(open_control_store(folder, settings.control, settings.events, moving=True))
            )
            shards = opened.enter_context(closing(open_shards(folder, control, settings.events)))
            drain(folder, shards, control)
            if users := nodes_at_work(control, folder.node_id()) if control.shared else []:
                raise StartupError(
                    f"The server on {users[0].place} has started again. Stop it, and run the command again."
                )
            engine = shards.get(FIRST_SHARD).engine
            client = opened.enter_context(closing(engine.client()))
            _leave_parts(engine, client)
            yield StoppedOrigin(folder, control, client)


@contextmanager
def open_origin(settings: Settings) -> Iterator[Origin]:
    """The installation of these settings.

    Raises:
        StartupError: There is none, or its secret is not here.
    """
    secret = bytes.fromhex(settings.secret) if settings.secret else secret_in(settings.data)
    if not (settings.control or (settings.data / "control.db").exists()):
        raise StartupError(
            f"{settings.data} has no control.db. If the server's control store is in PostgreSQL, set POSTBACK_CONTROL "
            "as for the server."
        )
    with closing(ControlStore(settings.control or f"sqlite:///{settings.data}/control.db")) as control:
        control.migrate()
        found = stored(control)
        if found is None or not found.complete:
            raise StartupError(f"No server has started on {settings.data} yet. Start 'postback serve' once first.")
        if not found.fingerprint.fits(secret):
            raise StartupError(
                f"The secret in {settings.data} is not the one of this installation. Run the command as the server "
                "runs, with its settings."
            )
        if len(list_shards(control)) > 1:
            raise StartupError("The events of this installation are on several shards, and only one can be moved.")
        yield Origin(settings, control, secret, found)


def _leave_parts(engine: EventEngine, client: Client) -> None:
    """Have an engine in this process merge nothing: it is read once, and nobody watches its merges."""
    if engine.embedded:
        client.command("SYSTEM STOP MERGES")


def _require_schema(client: Client) -> None:
    version = client.query("SELECT max(version) FROM schema_version").result_rows[0][0]
    if version != MIGRATIONS[-1].version:
        raise StartupError(
            "The server runs another version of Postback than this command. Install the same version for both, restart "
            "the server, and run the command again."
        )
