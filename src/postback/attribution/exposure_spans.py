"""Spans of new exposures: which of them count, and how events find them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from postback.attribution.exposure_index import ExposureIndex
from postback.attribution.statements import DerivedStore
from postback.metrics import Metrics

__all__ = ["ExposureSpans"]

_TABLES = ("run_exposure", "run_known_exposure", "run_repeated_exposure")

_log = logging.getLogger(__name__)


class ExposureSpans:
    """Takes stored exposures in the order of their arrival, and keeps an index of each account's.

    Args:
        derived: Where its statements run.
        folder: Where the indexes are: a folder for each account.
        most: Most exposures at a time.
        metrics: Where reused exposure_ids are counted.
    """

    def __init__(self, derived: DerivedStore, folder: Path, most: int, metrics: Metrics) -> None:
        self._derived = derived
        self._folder = folder
        self._most = most
        self._metrics = metrics
        self._indexes: dict[str, ExposureIndex] = {}

    @property
    def indexes(self) -> Mapping[str, ExposureIndex]:
        """The indexes that are open, by account."""
        return self._indexes

    def stage(self, account_id: str, after: int, newest: int) -> int:
        """Stage the next span of exposures that arrived after a time; returns where it ends, in µs since the epoch.

        Raises:
            StoreUnavailable: The event store refused.
        """
        span = {"account_id": account_id, "after": after}
        # The newest of all may have been a copy, which a merge has dropped.
        through = min(self._derived.value("exposures_through", **span, most=self._most) or newest, newest)
        self._derived.run("repeated_exposures", **span, through=through)
        self._derived.run("new_exposures", **span, through=through)
        self._derived.run("known_exposures", **span)
        return through

    def index(self, account_id: str, through: int) -> None:
        """Make the staged exposures findable by their match keys.

        Raises:
            StoreUnavailable: A store can't be read or written.
        """
        found = self._derived.arrow("staged_exposures")
        if self._derived.value("has_exposure_copies"):
            copies = self._derived.arrow("exposure_copies", account_id=account_id, through=through)
            self._note_reused(pc.sum(copies["reused"]).as_py() or 0)
            found = pa.concat_tables([found, copies.drop_columns(["reused"])])
        self.opened(account_id).extend(found, through)

    def catch_up(self, account_id: str, through: int) -> None:
        """Let the index of an account have every exposure that was received by a time; the account's rules are staged.

        Raises:
            StoreUnavailable: A store can't be read or written.
        """
        index = self.opened(account_id)
        if index.through > through:
            index.clear()
        while index.through < through:
            self.index(account_id, self.stage(account_id, index.through, through))
            self._derived.empty(*_TABLES)

    def forget(self, before: int) -> bool:
        """Drop match keys of exposures that happened before a time from one index; whether there may be more.

        Raises:
            StoreUnavailable: The data folder can't be written.
        """
        return any(index.forget(before) for index in self._indexes.values())

    def close_others(self, mine: Callable[[str], bool]) -> None:
        """Close the indexes of other accounts: another shard's attribution goes on with their files."""
        for account_id in [account_id for account_id in self._indexes if not mine(account_id)]:
            del self._indexes[account_id]

    def opened(self, account_id: str) -> ExposureIndex:
        """The index of an account, as far as it has come."""
        if account_id not in self._indexes:
            name = hashlib.sha256(account_id.encode()).hexdigest()[:32]
            self._indexes[account_id] = ExposureIndex(self._folder / name, account_id)
        return self._indexes[account_id]

    def _note_reused(self, exposures: int) -> None:
        """Tell the operator of exposures that came under the id of others, and therefore don't count."""
        if exposures:
            self._metrics.reused_exposures(exposures)
            _log.warning(
                "EXPOSURE_ID_REUSED: %d exposure_ids stand for several kinds, media buys or packages; the first counts",
                exposures,
            )
