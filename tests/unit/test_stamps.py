"""The times of receipt."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from postback.store.stamps import Stamps


def test_no_two_events_share_a_stamp_whatever_thread_takes_it() -> None:
    stamps = Stamps()
    with ThreadPoolExecutor(8) as threads:
        firsts = list(threads.map(lambda _: stamps.take(100), range(200)))
    taken = {first + n for first in firsts for n in range(100)}
    assert len(taken) == 200 * 100


def test_stamps_follow_the_wall_clock() -> None:
    before = time.time_ns() // 1_000
    assert before <= Stamps().take(1) <= time.time_ns() // 1_000


def test_a_clock_that_was_set_back_does_not_repeat_the_past() -> None:
    in_an_hour = time.time_ns() // 1_000 + 3_600_000_000
    assert Stamps(last=in_an_hour).take(10) == in_an_hour + 1
