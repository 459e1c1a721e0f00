"""The schema of the control store: how Alembic upgrades it, in SQLite or PostgreSQL."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from postback.errors import StartupError
from postback.store import migrations

__all__ = ["upgrade"]

_MIGRATIONS = 7_620_002
"""PostgreSQL's advisory lock of an upgrade: a number that nothing else in the database uses."""


def upgrade(connection: Connection) -> None:
    """Upgrade the schema to the newest revision, in a transaction; does nothing when it is already there.

    Raises:
        StartupError: A row refers to one that is missing, or a newer Postback has upgraded it.
    """
    if connection.dialect.name != "sqlite":  # where a transaction that writes is alone
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATIONS})"))
    if _revision(connection) == migrations.HEAD:
        return
    # Alembic takes longer to import than the rest of this module to run, so only an upgrade imports it.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StartupError(
            "A newer version of Postback has upgraded the control store. Install that version, or use another "
            "data folder."
        ) from error
    if connection.dialect.name == "sqlite":
        _check_references(connection)


def _check_references(connection: Connection) -> None:
    """Check that no row refers to one that is missing, since SQLite didn't while foreign keys were off."""
    missing = Counter((row.table, row.parent) for row in connection.execute(text("PRAGMA foreign_key_check")))
    for (table, parent), count in missing.items():
        rows = "1 row" if count == 1 else f"{count:,} rows"
        refer = "refers to a row" if count == 1 else "refer to rows"
        raise StartupError(
            f"The control store is damaged: {rows} of {table} {refer} of {parent} that {'is' if count == 1 else 'are'} "
            "missing. Nothing was changed. Restore it from a backup."
        )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
