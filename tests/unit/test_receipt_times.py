"""The times of receipt."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.clocks import DAY, Hands

from postback.store.receipt_times import ReceiptTimes


def test_no_two_events_share_a_stamp_whatever_thread_takes_it() -> None:
    stamps = ReceiptTimes()
    with ThreadPoolExecutor(8) as threads:
        firsts = list(threads.map(lambda _: stamps.take(100), range(200)))
    taken = {first + n for first in firsts for n in range(100)}
    assert len(taken) == 200 * 100


def test_stamps_follow_the_wall_clock() -> None:
    before = time.time_ns() // 1_000
    assert before <= ReceiptTimes().take(1) <= time.time_ns() // 1_000


def test_a_clock_that_was_set_back_does_not_repeat_the_past() -> None:
    in_an_hour = time.time_ns() // 1_000 + 3_600_000_000
    assert ReceiptTimes(last=in_an_hour).take(10) == in_an_hour + 1


def test_nothing_is_promised_beyond_what_is_on_its_way() -> None:
    times = ReceiptTimes()
    first = times.announce()
    second = times.announce()
    assert times.stored_through() == first
    times.settle(second)
    assert times.stored_through() == first
    times.settle(first)
    assert first < times.stored_through() < times.take(1)


@pytest.mark.parametrize("back", [10, 3600])
def test_what_comes_after_a_promise_is_later_even_when_the_clock_was_set_back(back: float) -> None:
    hands = Hands()
    times = ReceiptTimes(clock=hands.clock)
    promised = times.stored_through()
    hands.set_wall(-back)
    assert promised < times.announce() < times.take(1)


def test_a_second_with_a_clock_that_is_400_days_ahead_leaves_later_times_where_they_belong() -> None:
    hands = Hands()
    times = ReceiptTimes(clock=hands.clock)
    hands.set_wall(400 * DAY)
    times.take(100)
    hands.let_pass(1)
    hands.set_wall(-400 * DAY)
    assert times.take(1) == hands.clock.micros()
    assert times.ahead() == 0


def test_times_that_are_ahead_of_the_clock_are_told() -> None:
    hands = Hands()
    an_hour_ahead = ReceiptTimes(hands.clock.micros() + 3_600_000_000, hands.clock)
    assert an_hour_ahead.ahead() == 3600


def test_rows_that_were_never_stored_hold_nothing_up() -> None:
    times = ReceiptTimes()
    with pytest.raises(ZeroDivisionError), times.on_their_way():
        raise ZeroDivisionError
    assert times.stored_through() >= time.time_ns() // 1_000 - 10_000_000


def test_whoever_shares_receipt_times_issues_only_its_own() -> None:
    hands = Hands()
    shares = [ReceiptTimes(clock=hands.clock) for _ in range(3)]
    for number, times in enumerate(shares):
        times.share(number, 3, after=0)

    issued = [
        first + n * times.step for _ in range(4) for times in shares for first in [times.take(5)] for n in range(5)
    ]

    assert len(set(issued)) == 4 * 3 * 5
    assert {time % 3 for time in issued[:5]} == {0}
    assert issued[0] >= hands.clock.micros()
