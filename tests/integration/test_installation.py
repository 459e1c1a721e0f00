"""The parts of a data folder know each other: one that was lost, exchanged or put back from another day is noticed."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from postback.accounts.store import AccountStore
from postback.errors import StartupError
from postback.store.data_folder import DataDir
from postback.store.fingerprint import log_owner, stored
from postback.store.flusher import drain
from postback.store.installation import (
    FIRST_ACCOUNT,
    note_commits,
    open_control_store,
    open_event_store,
)
from postback.store.log_frames import pack
from postback.store.log_segments import LogSegments
from postback.store.receipt_times import ReceiptTimes
from postback.store.rows import COLUMNS, Rows
from postback.store.shards import Shards


def start(path: Path, *, sandbox: bool = False, url: str | None = None) -> None:
    """What a server's start does with its folder, and its stop."""
    with (
        closing(DataDir.open(path)) as folder,
        closing(open_control_store(folder, url)) as control,
        closing(open_event_store(folder, control, sandbox=sandbox)),
    ):
        if not AccountStore(control).list():
            AccountStore(control).create(FIRST_ACCOUNT, sandbox=sandbox)
        note_commits(folder, control)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a server has used, and another one."""
    parent = tmp_path_factory.mktemp("made")
    start(parent / "data")
    start(parent / "other")
    return parent


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "data", tmp_path / "data", symlinks=True))


def test_a_folder_that_is_whole_starts_again(data: Path) -> None:
    start(data)


def other_secret(data: Path, _: Path) -> None:
    (data / "secret.key").write_text(secrets.token_hex(32))


def no_secret(data: Path, _: Path) -> None:
    (data / "secret.key").unlink()


def no_control(data: Path, _: Path) -> None:
    (data / "control.db").unlink()


def empty_control(data: Path, _: Path) -> None:
    (data / "control.db").write_bytes(b"")


def new_control(data: Path, _: Path) -> None:
    """Somebody removed control.db and ran a command that makes a new one."""
    (data / "control.db").unlink()
    (data / "control.commits").unlink()
    with closing(sqlite3.connect(data / "control.db")) as connection:
        connection.execute("PRAGMA user_version=1")


def other_control(data: Path, other: Path) -> None:
    shutil.copy(other / "control.db", data)


def no_events(data: Path, _: Path) -> None:
    shutil.rmtree(data / "events")


def empty_events(data: Path, _: Path) -> None:
    """The disk of the events is not mounted."""
    shutil.rmtree(data / "events")
    (data / "events").mkdir()


def other_events(data: Path, other: Path) -> None:
    shutil.rmtree(data / "events")
    shutil.copytree(other / "events", data / "events", symlinks=True)


def damaged_control(data: Path, _: Path) -> None:
    with (data / "control.db").open("r+b") as file:
        file.seek(4096 * 3)
        file.write(bytes(4096))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (other_secret, r"secret\.key is not the secret of the installation"),
        (no_secret, r"secret\.key is missing, but .* contains data"),
        (no_control, r"control\.db is missing or empty"),
        (empty_control, r"control\.db is missing or empty"),
        (new_control, "belongs to a control store that is not this one"),
        (other_control, r"secret\.key is not the secret of the installation"),
        (no_events, "The event store in .* is missing or empty"),
        (empty_events, "The event store in .* is missing or empty"),
        (other_events, "belong to different installations"),
        (damaged_control, r"control\.db is damaged: Page 4"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_part_that_is_not_the_folders_stops_every_start(
    data: Path, made: Path, damage: Callable[[Path, Path], None], said: str
) -> None:
    damage(data, made / "other")
    for _ in range(2):
        with pytest.raises(StartupError, match=said):
            start(data)


def log_a_call(data: Path) -> None:
    """What a server that is killed leaves in its log."""
    with closing(DataDir.open(data)) as folder, closing(open_control_store(folder, None)) as control:
        segments = LogSegments(folder.log, ReceiptTimes(), log_owner(control))
        row = {name: ["x"] for name in COLUMNS["rejected_event"] if name != "received_at"} | {"place": [0]}
        segments.append([pack([Rows("rejected_event", row)])])


def flush(data: Path) -> int:
    """Move what is in the log into the stores, as a start does; returns how many rows there are then."""
    with (
        closing(DataDir.open(data)) as folder,
        closing(open_control_store(folder, None)) as control,
        closing(open_event_store(folder, control)) as events,
    ):
        drain(folder, Shards.alone(events), control)
        return len(events.deriver.query("SELECT event_id FROM rejected_event").result_rows)


def test_the_log_of_another_folder_is_refused_and_kept(data: Path, made: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(made / "other", tmp_path / "other", symlinks=True))
    log_a_call(other)
    shutil.rmtree(data / "log", ignore_errors=True)
    (other / "log").rename(data / "log")

    with pytest.raises(StartupError, match="is the log of another installation"):
        flush(data)

    (data / "log").rename(other / "log")
    assert flush(other) == 1


def test_a_log_from_before_segments_had_a_mark_is_read(data: Path) -> None:
    log_a_call(data)
    (segment,) = (data / "log").iterdir()
    sequence, _, digits = segment.name.partition("-")
    segment.rename(segment.with_name(f"{sequence}-{digits[-16:]}"))

    assert flush(data) == 1


@pytest.mark.parametrize("sandbox", [True, False])
def test_a_folder_stays_a_sandboxs_or_a_production_servers(data: Path, tmp_path: Path, sandbox: bool) -> None:
    folder = data if sandbox else tmp_path / "sandbox"
    if not sandbox:
        start(folder, sandbox=True)

    with pytest.raises(StartupError, match="is the data folder of a " + ("production" if sandbox else "sandbox")):
        start(folder, sandbox=sandbox)


def test_a_folder_from_before_fingerprints_gets_one_that_fits_what_it_was(data: Path) -> None:
    forget_fingerprint(data)

    with pytest.raises(StartupError, match="is the data folder of a production server"):
        start(data, sandbox=True)
    start(data)

    with closing(DataDir.open(data)) as folder, closing(open_control_store(folder, None)) as control:
        found = stored(control)
    assert found
    assert found.complete


def forget_fingerprint(data: Path) -> None:
    with (
        closing(DataDir.open(data)) as folder,
        closing(open_control_store(folder, None)) as control,
        closing(open_event_store(folder, control)) as events,
    ):
        events.deriver.command("TRUNCATE TABLE installation")
        with control.begin() as connection:
            connection.exec_driver_sql("DELETE FROM installation")


def test_a_first_start_that_was_interrupted_is_completed(data: Path) -> None:
    with closing(sqlite3.connect(data / "control.db")) as control:
        control.execute("UPDATE installation SET complete = 0")
        control.commit()
    shutil.rmtree(data / "events")

    start(data)

    (data / "events").rename(data / "gone")
    with pytest.raises(StartupError, match="is missing or empty"):
        start(data)


def test_changes_that_were_lost_with_the_write_ahead_log_stop_the_start(data: Path) -> None:
    """A copy of control.db without control.db-wal, as a kill leaves it, is an old state that looks whole."""
    with closing(DataDir.open(data)) as folder, closing(open_control_store(folder, None)) as control:
        before = (data / "control.db").read_bytes()
        AccountStore(control).create("acme")
        note_commits(folder, control)
        assert (data / "control.db").read_bytes() == before, "the change is in control.db-wal only"
        write_ahead_log = (data / "control.db-wal").read_bytes()
    (data / "control.db").write_bytes(before)

    with pytest.raises(StartupError, match=r"control\.db lacks its last changes \(1 or more\)"):
        start(data)

    without = Path(shutil.copytree(data, data.with_name("without"), symlinks=True))
    (without / "control.commits").unlink()
    start(without)

    (data / "control.db-wal").write_bytes(write_ahead_log)
    start(data)
    with closing(DataDir.open(data)) as folder, closing(open_control_store(folder, None)) as control:
        assert AccountStore(control).get("acme")


def test_an_older_copy_is_refused_before_it_is_upgraded(data: Path) -> None:
    """It is from before the control store counted its changes."""
    with closing(sqlite3.connect(data / "control.db")) as control:
        for statement in ("DROP TABLE commit_count", "DROP TABLE installation", "DROP TABLE running_time"):
            control.execute(statement)
        control.execute("UPDATE alembic_version SET version_num = '0007'")
        control.commit()

    with pytest.raises(StartupError, match=r"control\.db lacks its last changes"):
        start(data)

    with closing(sqlite3.connect(data / "control.db")) as control:
        assert control.execute("SELECT version_num FROM alembic_version").fetchone() == ("0007",)


def test_a_database_of_another_installation_is_refused(
    data: Path, tmp_path: Path, new_postgresql: Callable[[], str]
) -> None:
    url = new_postgresql()
    start(tmp_path / "first", url=url)
    start(tmp_path / "first", url=url)

    with pytest.raises(StartupError, match="correct POSTBACK_CONTROL"):
        start(data, url=url)
