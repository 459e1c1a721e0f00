"""The free space of the data folder's disk: events are refused while it is low, before the engine is in danger.

Three bounds, one below the other: merges stop, then events are refused, then the disk is full. Between the second and
the third is room for what was acknowledged and is still on its way into the stores.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from postback.errors import StoreUnavailable
from postback.metrics import Metrics

__all__ = ["DiskRoom", "merges_need"]

_MERGES_SHARE = 0.05
_MERGES_BYTES = 2**30
"""Below this share of the disk, and this many bytes, nothing is merged."""

_RETRY_SECONDS = 5

_log = logging.getLogger(__name__)


def merges_need(data: Path) -> int:
    """Free bytes below which nothing is merged on the disk of this folder."""
    return min(_MERGES_BYTES, int(shutil.disk_usage(data).total * _MERGES_SHARE))


class DiskRoom:
    """Knows whether there is room for events: half as much as merges need.

    Args:
        data: The data folder.
        metrics: Where the free bytes are shown.
        free: Free bytes of its disk; by default those that the system tells.
    """

    def __init__(self, data: Path, metrics: Metrics, free: Callable[[], int] | None = None) -> None:
        self._metrics = metrics
        self._free = free or (lambda: shutil.disk_usage(data).free)
        self._least = merges_need(data) // 2
        self._low = False
        self.look()

    @property
    def least(self) -> int:
        """Free bytes below which events are refused."""
        return self._least

    @property
    def low(self) -> bool:
        """Whether events are refused, as of the last look."""
        return self._low

    def free(self) -> int:
        """Free bytes of the disk."""
        return self._free()

    def look(self) -> None:
        """See how much is free; called every second."""
        free = self._free()
        self._metrics.disk_free(free)
        if not self._low and free < self._least:
            self._low = True
            _log.error("The disk has %d MB left: events are refused until there is room. Make room.", free // 2**20)
        elif self._low and free >= self._least:
            self._low = False
            _log.info("The disk has room again: events are accepted.")

    def check(self) -> None:
        """Check that there is room for events. While there was some, it is not looked at again: calls are frequent.

        Raises:
            StoreUnavailable: There is not.
        """
        if self._low:
            self.look()
        if self._low:
            raise StoreUnavailable(
                f"The disk of the data folder has less than {self._least // 2**20:,} MB left. New events are refused.",
                retry_after=_RETRY_SECONDS,
            )
