"""An API key has its minute, and is told when the next one begins."""

from __future__ import annotations

import pytest
from tests.clocks import DAY, Hands

from postback.auth.rate_limits import RateLimits
from postback.auth.windows import Windows
from postback.errors import RateLimitExceeded


def test_the_call_after_the_last_one_allowed_is_refused_until_the_minute_ends() -> None:
    limits = RateLimits(requests=2, events=100)
    limits.hit_request("key_a")
    limits.hit_request("key_a")

    with pytest.raises(RateLimitExceeded) as refused:
        limits.hit_request("key_a")

    assert refused.value.retry_after is not None
    assert 1 <= refused.value.retry_after <= 60
    assert "2 requests per minute" in refused.value.message


def test_one_key_does_not_use_up_the_minute_of_another() -> None:
    limits = RateLimits(requests=1, events=100)
    limits.hit_request("key_a")

    limits.hit_request("key_b")


def test_a_refused_batch_is_not_counted_so_that_a_smaller_one_still_fits() -> None:
    limits = RateLimits(requests=10, events=100)
    limits.hit_events("key_a", 60)
    with pytest.raises(RateLimitExceeded):
        limits.hit_events("key_a", 60)

    limits.hit_events("key_a", 40)


def test_a_batch_that_never_fits_is_told_so() -> None:
    with pytest.raises(RateLimitExceeded) as refused:
        RateLimits(requests=10, events=100).hit_events("key_a", 101)

    assert refused.value.suggestion == "Send at most 100 events in one call. A larger call is never accepted."


@pytest.mark.parametrize("days", [-400, 400])
def test_a_wall_clock_that_is_set_neither_frees_a_key_nor_locks_it_out(days: int) -> None:
    hands = Hands()
    limits = RateLimits(requests=1, events=10, now=hands.clock.passed)
    limits.hit_request("key_a")
    limits.hit_events("key_a", 10)
    with pytest.raises(RateLimitExceeded):
        limits.hit_events("key_a", 10)
    hands.let_pass(18)

    hands.set_wall(days * DAY)
    with pytest.raises(RateLimitExceeded) as refused:
        limits.hit_request("key_a")
    refusal = limits.events_refusal("key_a")
    hands.let_pass(42)
    limits.hit_request("key_a")
    limits.hit_events("key_a", 10)

    assert refused.value.retry_after == 42
    assert refusal is not None
    assert refusal.retry_after == 42
    assert limits.events_refusal("key_a") is None


def test_a_minute_that_has_ended_takes_no_memory() -> None:
    hands = Hands()
    windows = Windows(hands.clock.passed, most=2)
    for name in ("a", "b", "c"):
        windows.count(name)

    assert [windows.counted(name) for name in "abc"] == [1, 1, 0]

    hands.let_pass(60)
    windows.count("c")

    assert [windows.counted(name) for name in "abc"] == [0, 0, 1]


def test_zero_turns_both_limits_off() -> None:
    limits = RateLimits(requests=0, events=1)

    for _ in range(1000):
        limits.hit_request("key_a")
    limits.hit_events("key_a", 1_000_000)
