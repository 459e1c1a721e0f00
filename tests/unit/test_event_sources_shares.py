"""A source whose events begin to fail, or to match nothing, is noticed against what is usual for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import examples
from tests.rhythms import NOW

from postback.event_sources.rhythms import Counts, SourceRhythm
from postback.event_sources.shares import ShareKind, share_of, share_of_day


def rejecting(now: tuple[int, int], usual: tuple[int, int], before: tuple[int, int] = (0, 0)) -> SourceRhythm:
    return SourceRhythm(NOW, NOW, NOW, this_hour=Counts(*now), hour_before=Counts(*before), usual_counts=Counts(*usual))


def attributed(now: tuple[int, int], usual: tuple[int, int]) -> SourceRhythm:
    return SourceRhythm(NOW, NOW, NOW, this_hour=Counts(0, 0, *now), usual_counts=Counts(0, 0, *usual))


@pytest.mark.parametrize(
    ("now", "usual", "changed"),
    [
        ((0, 300), (10, 2000), False),
        ((5, 300), (10, 2000), False),
        ((60, 300), (10, 2000), True),
        ((300, 300), (0, 2000), True),
        ((30, 60), (0, 2000), True),
        ((140, 300), (900, 2000), False),
        ((300, 300), (2000, 2000), False),
    ],
)
def test_more_rejected_events_than_usual_are_noticed(
    now: tuple[int, int], usual: tuple[int, int], changed: bool
) -> None:
    share = share_of("failure_rate", rejecting(now, usual))

    assert share
    assert share.changed is changed


@pytest.mark.parametrize(
    ("now", "usual", "changed"),
    [
        ((180, 300), (1200, 2000), False),
        ((140, 300), (1200, 2000), False),
        ((10, 300), (1200, 2000), True),
        ((0, 60), (1200, 2000), True),
        ((300, 300), (1200, 2000), False),
        ((0, 300), (20, 2000), False),
        ((0, 300), (0, 2000), False),
    ],
)
def test_fewer_attributed_events_than_usual_are_noticed(
    now: tuple[int, int], usual: tuple[int, int], changed: bool
) -> None:
    share = share_of("match_rate", attributed(now, usual))

    assert share
    assert share.changed is changed


def test_the_sentence_has_the_numbers() -> None:
    share = share_of("failure_rate", rejecting((60, 300), (10, 2000)))

    assert share
    assert share.sentence == "20% of the last 300 events were rejected; 1% are usual."


@pytest.mark.parametrize("kind", ["failure_rate", "match_rate"])
@pytest.mark.parametrize(("now", "usual"), [((20, 20), (0, 2000)), ((300, 300), (0, 100))])
def test_few_events_say_nothing(kind: ShareKind, now: tuple[int, int], usual: tuple[int, int]) -> None:
    assert (
        share_of(kind, SourceRhythm(NOW, NOW, NOW, this_hour=Counts(*now, *now), usual_counts=Counts(*usual))) is None
    )


def test_an_hour_that_has_just_begun_is_seen_with_the_one_before() -> None:
    share = share_of("failure_rate", rejecting((1, 2), (10, 2000), before=(90, 300)))

    assert share
    assert (share.events, share.changed) == (302, True)


def test_what_has_changed_stays_so_until_half_the_way_back() -> None:
    usual = (20, 2000)

    assert [
        bool(found and found.changed)
        for rejected in (60, 25, 10)
        for found in [share_of("failure_rate", rejecting((rejected, 300), usual), changed=True)]
    ] == [True, True, False]
    almost = share_of("failure_rate", rejecting((15, 300), usual))
    assert almost
    assert not almost.changed


@pytest.mark.parametrize(("hits", "changed"), [(2, True), (40, False)])
def test_a_day_tells_whether_what_had_changed_is_back(hits: int, changed: bool) -> None:
    usual = Counts(20, 2000, 1200, 2000)
    day = SourceRhythm(
        NOW, NOW, NOW, accepted_day=hits, rejected_day=60 - hits, attributed_day=hits, outcomes_day=60, all_counts=usual
    )
    matched, failed = share_of_day("match_rate", day), share_of_day("failure_rate", day)

    assert matched
    assert (matched.events, matched.changed) == (60, changed)
    assert failed
    assert failed.sentence == f"{(60 - hits) / 60:.0%} of the last 60 events were rejected; 1% are usual."


def test_a_day_with_few_events_says_nothing() -> None:
    day = SourceRhythm(NOW, NOW, NOW, accepted_day=19, outcomes_day=19, all_counts=Counts(20, 2000, 1200, 2000))

    assert share_of_day("match_rate", day) is None
    assert share_of_day("failure_rate", day) is None


@examples(60)
@given(st.integers(50, 10_000), st.integers(200, 100_000), st.floats(0, 1))
def test_a_share_that_is_as_usual_never_has_changed(events: int, usual: int, share: float) -> None:
    hits, usually = round(events * share), round(usual * share)
    rhythm = SourceRhythm(
        NOW, NOW, NOW, this_hour=Counts(hits, events, hits, events), usual_counts=Counts(usually, usual, usually, usual)
    )

    for kind in ("failure_rate", "match_rate"):
        found = share_of(kind, rhythm)
        assert found
        assert not found.changed
