"""What the rules of this version would change in each package's numbers: derived beside them, in a database of its own.

The facts are seen through views, so the statements of a run are the same; nothing that reports read is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from importlib import resources
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import NamedTuple

from clickhouse_connect.driver.exceptions import ClickHouseError

from postback.attribution.runner import Attribution
from postback.attribution.state import NEVER
from postback.attribution.statements import DerivedStore
from postback.errors import StartupError
from postback.media_buys.store import MediaBuyStore
from postback.metrics import Metrics
from postback.store.control_store import ControlStore
from postback.store.event_engine import failures_reported, fitted
from postback.store.event_store import EventStore
from postback.store.table_engines import TableEngines

__all__ = ["PackageChange", "compare"]

_DERIVED = (
    "attribution",
    "event_hash_by_key",
    "event_by_link",
    "exposure_hour",
    "conversion_hour",
)
_SQL = resources.files("postback.attribution") / "sql" / "comparison"


class PackageChange(NamedTuple):
    """A package's numbers as they are, and as they would be. Values are in the buy's currency."""

    account_id: str
    media_buy_id: str
    package_id: str
    conversions: int
    value: Decimal
    new_conversions: int
    new_value: Decimal

    @property
    def changes(self) -> bool:
        """Whether a number would be another."""
        return (self.conversions, self.value) != (self.new_conversions, self.new_value)


def compare(events: EventStore, media_buys: MediaBuyStore, scratch: Path) -> list[PackageChange]:
    """Derive everything beside what is stored, and compare the sums of each package that has any.

    Args:
        events: Where the facts and the present numbers are.
        media_buys: Whose goals count.
        scratch: A folder for what the derivation leaves, which is deleted.

    Raises:
        StartupError: The event store's user may not make a database, or it is replicated.
        StoreUnavailable: A store doesn't answer.
    """
    with (
        failures_reported("a comparison"),
        TemporaryDirectory(dir=scratch) as folder,
        _beside(events) as beside,
        closing(ControlStore(f"sqlite:///{folder}/control.db")) as control,
    ):
        control.migrate()
        _copy_kept_outcomes(events, beside, media_buys)
        Attribution(beside, control, media_buys, Path(folder)).catch_up()
        rows = beside.deriver.query(_statement("package_changes", events)).result_rows
    return [PackageChange(*row) for row in rows]


@contextmanager
def _beside(events: EventStore) -> Iterator[EventStore]:
    """An event store with the same facts, in which nothing is derived yet."""
    if events.engine.tables is not TableEngines.PLAIN:
        raise StartupError(
            f"The event store in {events.engine.place} is replicated, and a comparison is made on one ClickHouse only. "
            "Restore a backup into a database of the engine Atomic, and compare there."
        )
    owner, stored = events.deriver, events.engine.database
    database = f"{stored}_comparison"
    try:
        owner.command(f"DROP DATABASE IF EXISTS {database}")
        owner.command(f"CREATE DATABASE {database}")
    except ClickHouseError as error:
        raise events.engine.unusable(error) from error
    try:
        with closing(events.engine.client(database, session=True)) as client:
            for table in _DERIVED:
                client.command(f"CREATE TABLE {table} AS {stored}.{table}")
            for fact in ("event", "exposure", "retention"):
                client.command(_statement(fact, events))
            store = EventStore(events.engine, client, client, client, [client])
            store.receipt_times = events.receipt_times
            yield store
    finally:
        owner.command(f"DROP DATABASE {database}")


def _copy_kept_outcomes(events: EventStore, beside: EventStore, media_buys: MediaBuyStore) -> None:
    """What counts in packages whose numbers are final, and what is settled, stays there, whatever the rules."""
    settled_before = DerivedStore(beside.deriver, Metrics().attribution_stages, beside.deriving).value("settled_before")
    for account_id in media_buys.changes():
        final = [(b.media_buy_id, p.package_id) for b, p in media_buys.goals(account_id) if p.finalized_at]
        if final or settled_before > NEVER:
            kept = _kept(account_id, final, settled_before)
            statement, parameters = fitted(beside.deriver, _statement("copy_kept_outcomes", events), kept)
            beside.deriver.command(statement, parameters=parameters)


def _kept(account_id: str, packages: Sequence[tuple[str, str]], settled_before: int) -> dict[str, object]:
    return {
        "account_id": account_id,
        "media_buy_ids": [media_buy_id for media_buy_id, _ in packages],
        "package_ids": [package_id for _, package_id in packages],
        "settled_before": settled_before,
    }


def _statement(name: str, events: EventStore) -> str:
    """The statement in ``comparison/NAME.sql``, which finds what is stored in the database of ``events``."""
    return Template((_SQL / f"{name}.sql").read_text()).substitute(stored=events.engine.database)
