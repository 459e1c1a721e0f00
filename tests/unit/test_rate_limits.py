"""An API key has its minute, and is told when the next one begins."""

from __future__ import annotations

import pytest

from postback.auth.rate_limits import RateLimits
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


def test_zero_turns_both_limits_off() -> None:
    limits = RateLimits(requests=0, events=1)

    for _ in range(1000):
        limits.hit_request("key_a")
    limits.hit_events("key_a", 1_000_000)
