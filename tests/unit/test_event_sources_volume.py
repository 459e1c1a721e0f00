"""A source that falls silent is noticed against its own hours of the week, and none that sends as usual is."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import examples
from tests.rhythms import NOW, always, office_hours, rhythm_of

from postback.event_sources.rhythms import BLOCK, SourceRhythm
from postback.event_sources.volume import Volume, volume_of

LONG_AGO = NOW - timedelta(weeks=20)
MINUTE = timedelta(minutes=1)


def silent(sends: Callable[[datetime], int], minutes: float, now: datetime = NOW, weeks: float = 6.1) -> Volume:
    gone = timedelta(minutes=minutes)
    return volume_of(rhythm_of(sends, now, weeks=weeks, silent=gone), now, LONG_AGO)


def hourly(block: datetime) -> int:
    """A batch at the beginning of each hour."""
    return 1000 if block.minute == 0 else 0


def half_hours(block: datetime) -> int:
    """Half of each hour, without a pause."""
    return 50 if block.minute >= 30 else 0


def nightly(block: datetime) -> int:
    """A batch at three each night."""
    return 5000 if (block.hour, block.minute) == (3, 0) else 0


def sparse(block: datetime) -> int:
    """Some two events a day, at any time."""
    return int(random.Random(block.timestamp()).random() < 2 / 288)


@pytest.mark.parametrize(
    ("sends", "minutes", "state"),
    [
        (always(), 0, "flowing"),
        (always(), 5, "flowing"),
        (always(), 12, "quiet"),
        (always(), 30, "offline"),
        (always(), 60 * 24 * 3, "offline"),
        (always(1), 30, "offline"),
        (hourly, 70, "flowing"),
        (hourly, 60 * 24, "offline"),
        (half_hours, 0, "flowing"),
        (half_hours, 240, "offline"),
        (nightly, 60 * 12, "flowing"),
        (sparse, 60 * 24, "flowing"),
        (sparse, 60 * 24 * 20, "offline"),
        (office_hours, 30, "offline"),
    ],
)
def test_silence_is_judged_by_what_is_usual(sends: Callable[[datetime], int], minutes: int, state: str) -> None:
    assert silent(sends, minutes).state == state


def test_the_sentence_has_the_numbers() -> None:
    assert silent(always(), 42).sentence == (
        "No event for 42 minutes; in this hour of the week there are 312 on average (6 weeks): offline, with high "
        "certainty."
    )


@pytest.mark.parametrize("hours", [1, 12, 60])
def test_a_shop_that_is_closed_is_not_offline(hours: int) -> None:
    friday_evening = NOW.replace(day=27, hour=18, minute=0)
    now = friday_evening + timedelta(hours=hours)

    assert volume_of(rhythm_of(office_hours, now), now, LONG_AGO).state == "flowing"


def test_a_shop_that_opens_an_hour_later_since_the_clocks_changed_is_not_offline() -> None:
    now = NOW.replace(hour=8, minute=55)
    rhythm = rhythm_of(office_hours, now, silent=timedelta(hours=14, minutes=55))

    assert volume_of(rhythm, now, LONG_AGO).state != "offline"


@pytest.mark.parametrize(
    ("weeks", "hours", "state", "certainty"),
    [
        (0.02, 2, "unknown", "low"),
        (0.1, 23, "unknown", "low"),
        (0.2, 30, "offline", "low"),
        (1, 3, "quiet", "medium"),
        (1, 8, "offline", "medium"),
        (3, 1, "offline", "high"),
    ],
)
def test_the_less_is_known_the_longer_it_takes(weeks: float, hours: int, state: str, certainty: str) -> None:
    since = hours / 168 + weeks
    found = silent(always(), 60 * hours, weeks=since)

    assert (found.state, found.certainty) == (state, certainty)


def test_a_server_that_was_down_does_not_call_its_sources_offline() -> None:
    rhythm = rhythm_of(always(), NOW, silent=timedelta(hours=9))

    found = volume_of(rhythm, NOW, NOW - 3 * MINUTE)

    assert (found.state, found.interrupted) == ("flowing", True)
    assert found.sentence.startswith("No event in the 3 minutes since events could arrive again;")
    assert volume_of(rhythm, NOW, NOW - 40 * MINUTE).state == "offline"


def test_an_outage_in_one_of_the_weeks_changes_little() -> None:
    def but_for_a_week(block: datetime) -> int:
        return 0 if timedelta(days=10) < NOW - block < timedelta(days=17) else 26

    assert silent(but_for_a_week, 45).state == "offline"


def test_a_single_event_does_not_bring_a_busy_source_back() -> None:
    def a_last_sign(block: datetime) -> int:
        return 26 if block < NOW - timedelta(hours=2) or block == NOW - BLOCK else 0

    rhythm = rhythm_of(a_last_sign, NOW)

    assert volume_of(rhythm, NOW, LONG_AGO, offline=True).state == "offline"
    assert volume_of(rhythm, NOW, LONG_AGO).state == "flowing"


def test_a_source_is_back_when_two_of_its_last_blocks_had_events() -> None:
    def back(block: datetime) -> int:
        return 26 if block < NOW - timedelta(hours=2) or block >= NOW - 2 * BLOCK else 0

    assert volume_of(rhythm_of(back, NOW), NOW, LONG_AGO, offline=True).state == "flowing"


def test_a_slow_source_is_back_with_one_event() -> None:
    def back(block: datetime) -> int:
        return sparse(block) if block < NOW - timedelta(days=20) else int(block == NOW - BLOCK)

    assert volume_of(rhythm_of(back, NOW), NOW, LONG_AGO, offline=True).state == "flowing"


@st.composite
def rhythms(draw: st.DrawFn) -> SourceRhythm:
    """A source with any hours, any share of busy blocks, any age, silent since now."""
    hours = draw(st.sets(st.integers(0, 167), min_size=1))
    busy = draw(st.floats(0.02, 1.0))
    weeks = draw(st.floats(0.01, 6))
    seed = draw(st.integers(0, 1000))
    begin = NOW - timedelta(weeks=weeks)

    def sends(block: datetime) -> int:
        if block < begin + BLOCK or block >= NOW - BLOCK:
            return 1
        chosen = block.weekday() * 24 + block.hour in hours
        return int(chosen and random.Random(block.timestamp() + seed).random() < busy)

    return rhythm_of(sends, NOW, weeks=weeks)


@examples(40)
@given(rhythms(), st.lists(st.integers(0, 60 * 24 * 40), min_size=2, max_size=12))
def test_a_longer_silence_is_never_more_likely(rhythm: SourceRhythm, minutes: list[int]) -> None:
    found = [volume_of(rhythm, NOW + each * MINUTE, LONG_AGO) for each in sorted(minutes)]

    assert [f.chance for f in found] == sorted((f.chance for f in found), reverse=True)
    states = [f.state == "offline" for f in found]
    assert states == sorted(states)


@examples(40)
@given(rhythms(), st.integers(0, 14))
def test_no_source_with_an_event_in_the_last_minutes_is_offline(rhythm: SourceRhythm, minutes: int) -> None:
    assert volume_of(rhythm, NOW + minutes * MINUTE, LONG_AGO).state != "offline"


@examples(40)
@given(rhythms(), st.integers(1, 60 * 24 * 20))
def test_the_hour_in_which_a_source_went_offline_is_no_reason_to_call_it_back(
    rhythm: SourceRhythm, minutes: int
) -> None:
    now = NOW + minutes * MINUTE
    if volume_of(rhythm, now, LONG_AGO).state == "offline":
        assert volume_of(rhythm, now, LONG_AGO, offline=True).state == "offline"


@examples(30)
@given(rhythms(), st.integers(2, 1000), st.integers(1, 5000))
def test_a_source_that_sends_a_thousand_times_as_much_is_judged_the_same(
    rhythm: SourceRhythm, times: int, minutes: int
) -> None:
    usual = {hour: u._replace(events=u.events * times) for hour, u in rhythm.usual.items()}
    larger = SourceRhythm(rhythm.begins, rhythm.last_minute, rhythm.learnt_before, usual, rhythm.active_blocks)
    now = NOW + minutes * MINUTE

    assert volume_of(larger, now, LONG_AGO).state == volume_of(rhythm, now, LONG_AGO).state
