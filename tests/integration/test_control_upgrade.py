"""A control store that holds data is upgraded from every earlier revision, and keeps all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, func, insert, select, text
from sqlalchemy.types import JSON, Boolean, Integer, LargeBinary

from postback.errors import StartupError
from postback.store import migrations
from postback.store.control_store import ControlStore

_FOLDER = Path(migrations.__file__).parent
_REVISIONS = [script.revision for script in ScriptDirectory(str(_FOLDER)).walk_revisions()]
_ROWS = 3

_RENAMED = {"parcel_id": "delivery_id", "sealed": "encrypted"}


def store_of(url: str, revision: str) -> Engine:
    """A store as the Postback of a revision made it, with rows in each of its tables."""
    engine = create_engine(url)
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(_FOLDER))
        command.upgrade(config, revision)
    with engine.begin() as connection:
        for table in tables(connection):
            for number in range(_ROWS):
                connection.execute(insert(table).values(row(table, number)))
    return engine


def tables(connection: Connection) -> list[Table]:
    """The tables of a store, those that others refer to first."""
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != "alembic_version"]


def row(table: Table, number: int) -> dict[str, Any]:
    """Values of every column; the same in columns that refer to each other."""
    return {column.name: value(column.type, column.name, number) for column in table.columns}


def value(kind: object, name: str, number: int) -> Any:
    if isinstance(kind, Boolean):
        return number == 0
    if isinstance(kind, JSON):
        return {"n": number}
    if isinstance(kind, Integer):
        return 1_700_000_000 + number
    if isinstance(kind, LargeBinary):
        return b"bytes %d" % number
    return f"{_RENAMED.get(name, name)} {number} 'é"


def contents(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """The rows of every table, in an order that no update changes."""
    with engine.connect() as connection:
        return {
            table.name: [
                dict(found) for found in connection.execute(select(table).order_by(*table.primary_key)).mappings()
            ]
            for table in tables(connection)
        }


@contextmanager
def disposed(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    finally:
        engine.dispose()


@pytest.mark.parametrize("revision", _REVISIONS)
def test_every_row_survives_the_upgrade(control_url: str, revision: str) -> None:
    with disposed(store_of(control_url, revision)) as engine:
        before = contents(engine)
        assert before

        control = ControlStore(control_url)
        control.migrate()
        control.close()

        after = contents(engine)
        for name, rows in before.items():
            for old, new in zip(rows, after[name], strict=True):
                assert {_RENAMED.get(column, column): held for column, held in old.items()}.items() <= new.items()


def test_a_row_that_refers_to_nothing_stops_the_upgrade_and_stays(tmp_path: Path) -> None:
    """Somebody edited the file by hand, or a disk lost a page."""
    url = f"sqlite:///{tmp_path}/control.db"
    with disposed(store_of(url, "0003")) as engine:
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM api_key WHERE key_id = :key"), {"key": "key_id 0 'é"})

        with pytest.raises(StartupError, match=r"1 row of api_key_account refers to a row of api_key that is missing"):
            ControlStore(url).migrate()

        with engine.connect() as connection:
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0003"
            assert connection.scalar(select(func.count()).select_from(text("api_key_account"))) == _ROWS
