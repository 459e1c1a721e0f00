"""Events are refused while the disk is nearly full, and accepted as soon as it has room."""

from __future__ import annotations

from pathlib import Path

import pytest

from postback.errors import StoreUnavailable
from postback.metrics import Metrics
from postback.store.disk_room import DiskRoom, merges_need


def test_events_are_refused_below_half_of_what_merges_need(tmp_path: Path) -> None:
    needed = merges_need(tmp_path) // 2
    free = needed
    room = DiskRoom(tmp_path, Metrics(), lambda: free)
    room.check()

    free = needed - 1
    room.check()  # not looked at since
    room.look()
    with pytest.raises(StoreUnavailable) as refused:
        room.check()
    free = needed
    room.check()

    assert refused.value.retry_after == 5
    assert "MB left" in refused.value.message


def test_a_start_on_a_full_disk_refuses_events_at_once(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        DiskRoom(tmp_path, Metrics(), lambda: 0).check()
