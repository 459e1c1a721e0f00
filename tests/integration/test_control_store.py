"""The control store's file: how it is opened, migrated and shared, and what happens when it fails."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from postback.accounts.store import AccountStore
from postback.errors import StartupError, StoreUnavailable
from postback.store import migrations
from postback.store.control_store import ControlStore
from postback.store.tables import METADATA


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlStore]:
    store = ControlStore(f"sqlite:///{tmp_path}/control.db")
    store.migrate()
    yield store
    store.close()


def test_the_migrations_make_the_declared_tables(control: ControlStore) -> None:
    with control.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_head_names_the_newest_migration() -> None:
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_heads() == [migrations.HEAD]


def test_opening_a_current_store_does_not_load_the_migration_machinery(control: ControlStore, tmp_path: Path) -> None:
    script = (
        "import sys; from postback.store.control_store import ControlStore; "
        f"store = ControlStore('sqlite:///{tmp_path}/control.db'); store.migrate(); store.close(); "
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_what_was_written_is_flushed_to_disk_and_read_beside_a_writer(control: ControlStore) -> None:
    with control.connect() as connection:
        settings = [
            connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert settings == ["wal", 2, 1]


def test_two_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    script = f"from postback.store.control_store import ControlStore; ControlStore('sqlite:///{tmp_path}/control.db').migrate()"
    starts = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [start.wait() for start in starts] == [0, 0]


def test_a_failed_change_is_undone(control: ControlStore) -> None:
    def change() -> None:
        with control.begin() as connection:
            connection.execute(
                text("INSERT INTO account (account_id, name, sandbox, created_at) VALUES ('a', 'A', 0, 0)")
            )
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        change()
    assert AccountStore(control).list() == []


def test_writers_wait_for_each_other(control: ControlStore) -> None:
    accounts = AccountStore(control)
    writers = [threading.Thread(target=accounts.create, args=(f"account-{n}",)) for n in range(8)]
    with control.begin():
        for writer in writers:
            writer.start()
    for writer in writers:
        writer.join()
    assert len(accounts.list()) == 8


def test_a_store_that_refuses_to_write_is_unavailable(tmp_path: Path, control: ControlStore) -> None:
    with control.begin() as connection:
        connection.execute(text("PRAGMA query_only=ON"))
    with pytest.raises(StoreUnavailable) as refused:
        AccountStore(control).create("acme")
    assert (refused.value.status, refused.value.retry_after) == (503, 1)


def test_a_full_disk_is_reported_and_passes(control: ControlStore) -> None:
    accounts = AccountStore(control)
    with control.connect() as connection:
        pages = connection.scalar(text("PRAGMA page_count"))
        most = connection.scalar(text(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(StoreUnavailable):
        accounts.create("acme", name="A" * 100_000)
    with control.connect() as connection:
        connection.execute(text(f"PRAGMA max_page_count={most * 1000}"))
    assert accounts.create("acme", name="A" * 100_000).account_id == "acme"


def test_a_folder_that_does_not_exist_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"control store .*missing/control\.db.* can't be opened"):
        ControlStore(f"sqlite:///{tmp_path}/missing/control.db").migrate()


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_text("not a database" * 100)
    with pytest.raises(StartupError, match="can't be opened: file is not a database"):
        ControlStore(f"sqlite:///{tmp_path}/control.db").migrate()


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path, control: ControlStore) -> None:
    with sqlite3.connect(tmp_path / "control.db") as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.close()
    with pytest.raises(StartupError, match="newer version of Postback"):
        control.migrate()


def test_a_file_of_an_earlier_version_is_rewritten_once_so_that_it_can_shrink(tmp_path: Path) -> None:
    file = tmp_path / "control.db"
    with closing(sqlite3.connect(file)) as earlier:
        earlier.execute("PRAGMA journal_mode=WAL")
        earlier.execute("CREATE TABLE other (value)")
        earlier.execute("INSERT INTO other VALUES (1)")
        earlier.commit()
    for _ in range(2):
        store = ControlStore(f"sqlite:///{file}")
        store.migrate()
        store.let_shrink()
        store.close()

    with closing(sqlite3.connect(file)) as now:
        assert now.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert now.execute("SELECT value FROM other").fetchone() == (1,)
