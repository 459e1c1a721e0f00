"""Whoever guesses keys is refused without a look-up, and logged in one line a minute."""

from __future__ import annotations

import pytest

from postback.auth.failed_keys import FailedKeys
from postback.auth.senders import sender
from postback.auth.windows import WINDOW_SECONDS
from postback.errors import RateLimitExceeded


class _Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def _failing(most: int, *senders: str) -> FailedKeys:
    failed = FailedKeys(most, now=_Clock())
    for each in senders:
        failed.check(each)
        failed.count(each)
    return failed


def test_a_sender_is_refused_after_so_many_until_the_minute_ends() -> None:
    clock = _Clock()
    refused: list[str] = []
    failed = FailedKeys(2, refused.append, clock)
    for _ in range(2):
        failed.check("192.0.2.1")
        failed.count("192.0.2.1")
    clock.seconds = 18.0

    with pytest.raises(RateLimitExceeded) as error:
        failed.check("192.0.2.1")
    failed.check("192.0.2.2")
    clock.seconds = WINDOW_SECONDS
    failed.check("192.0.2.1")

    assert (error.value.retry_after, refused) == (WINDOW_SECONDS - 18, ["address"])


def test_a_minute_is_logged_in_one_line_with_the_worst_sender(caplog: pytest.LogCaptureFixture) -> None:
    failed = _failing(3, "192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2")
    for _ in range(5):
        with pytest.raises(RateLimitExceeded):
            failed.check("192.0.2.2")

    failed.log()
    failed.log()

    (line,) = caplog.messages
    assert "9 requests from 2 addresses" in line
    assert "8 of them came from 192.0.2.2" in line


def test_zero_refuses_nobody() -> None:
    _failing(0, *["192.0.2.1"] * 1_000)


def test_a_host_of_ipv6_is_its_network() -> None:
    assert sender(("2001:db8:1:2:3:4:5:6", 1)) == sender(("2001:db8:1:2::", 1)) == "2001:db8:1:2::/64"
    assert sender(("::ffff:192.0.2.1", 1)) == sender(("192.0.2.1", 1)) == "192.0.2.1"


@pytest.mark.parametrize("client", [None, ("", 0), ("jane@example.com", 1)])
def test_what_is_no_address_is_not_logged(client: tuple[str, int] | None) -> None:
    assert sender(client) == "an unknown address"
