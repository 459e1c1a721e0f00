"""The time that the server goes by, while its machine's clock is set."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from tests.clocks import DAY, Hands

from postback.clock import FOLLOWED_SECONDS, LASTING_SECONDS
from postback.errors import StartupError

NOW = 1_800_000_000.0


@pytest.fixture
def hands() -> Hands:
    return Hands(NOW)


@pytest.mark.parametrize("by", [400 * DAY, -400 * DAY, 3600, -3600, 61])
def test_a_second_with_a_wrong_clock_leaves_nothing_behind(
    hands: Hands, by: float, caplog: pytest.LogCaptureFixture
) -> None:
    hands.set_wall(by)
    assert hands.clock.now() == NOW
    assert hands.clock.problem
    assert hands.clock.jump == by
    hands.let_pass(1)
    assert hands.clock.now() == NOW + 1
    hands.set_wall(-by)
    assert hands.clock.now() == NOW + 1
    assert hands.clock.problem is None
    assert hands.clock.jump == 0
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]


@pytest.mark.parametrize("by", [FOLLOWED_SECONDS, -FOLLOWED_SECONDS, 0.5])
def test_a_clock_that_is_corrected_a_little_is_followed_at_once(hands: Hands, by: float) -> None:
    hands.set_wall(by)
    assert hands.clock.now() == NOW + by
    assert hands.clock.problem is None


@pytest.mark.parametrize("by", [400 * DAY, -400 * DAY])
def test_a_jump_that_lasts_is_followed(hands: Hands, by: float) -> None:
    """A virtual machine was paused, or a time server reached at last."""
    hands.set_wall(by)
    hands.let_pass(LASTING_SECONDS - 1)
    assert hands.clock.now() == NOW + LASTING_SECONDS - 1
    hands.let_pass(1)
    assert hands.clock.now() == NOW + by + LASTING_SECONDS
    assert hands.clock.problem is None


def test_a_clock_that_jumps_about_is_not_followed(hands: Hands) -> None:
    for _ in range(10):
        hands.set_wall(3600)
        hands.let_pass(LASTING_SECONDS - 1)
    assert hands.clock.now() == NOW + 10 * (LASTING_SECONDS - 1)


def test_what_was_used_up_before_the_clock_was_set_back_is_distrusted_for_an_hour_at_most(hands: Hands) -> None:
    assert hands.clock.distrusted_until == 0
    hands.set_wall(-1800)
    hands.let_pass(LASTING_SECONDS)
    assert hands.clock.distrusted_until == NOW + LASTING_SECONDS
    hands.set_wall(-400 * DAY)
    hands.let_pass(LASTING_SECONDS)
    assert hands.clock.distrusted_until == NOW + LASTING_SECONDS

    set_back = Hands(NOW)
    set_back.set_wall(-400 * DAY)
    set_back.let_pass(LASTING_SECONDS)
    assert set_back.clock.distrusted_until == set_back.clock.now() + 3600


def test_a_machine_whose_clock_was_never_set_starts_no_server() -> None:
    with pytest.raises(StartupError, match=r"The clock of this machine says 1970-01-01 00:01 UTC\. Set it"):
        Hands(60).clock.require_set()
    Hands(datetime(2026, 1, 2, tzinfo=UTC).timestamp()).clock.require_set()


def test_the_real_clock_agrees_with_itself() -> None:
    from postback.clock import Clock

    clock = Clock()
    assert abs(clock.now() - datetime.now(UTC).timestamp()) < FOLLOWED_SECONDS
    assert clock.passed() <= clock.passed()
