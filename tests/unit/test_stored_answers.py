"""Responses are stored small, and a key has room for so many large ones."""

from __future__ import annotations

import json

from postback.store.stored_answers import LARGE_ANSWER_BYTES, AnswerQuota, pack_answer, unpack_answer

_HOUR = 3_600
_DAY = 24 * _HOUR


def test_a_response_in_which_every_event_failed_takes_little() -> None:
    failures = [
        {"event_id": f"index:{at}", "field": f"events[{at}].event_id", "message": "Send it."} for at in range(9)
    ]
    answer = json.dumps(failures * 1_000).encode()

    packed = pack_answer(answer)

    assert len(packed) < len(answer) / 40
    assert unpack_answer(packed) == answer


def test_a_response_that_an_earlier_version_stored_is_read_as_it_is() -> None:
    assert unpack_answer(b'{"events_received": 1}') == b'{"events_received": 1}'


def test_a_small_response_is_stored_as_it_is_and_does_not_count() -> None:
    quota = AnswerQuota(1, lambda: 0)

    quota.add("key", len(pack_answer(b"x" * LARGE_ANSWER_BYTES)), _DAY)

    assert pack_answer(b"x" * LARGE_ANSWER_BYTES) == b"x" * LARGE_ANSWER_BYTES
    assert quota.used("key") == 0


def test_a_key_has_room_again_when_its_responses_have_expired() -> None:
    now = 100.0
    quota = AnswerQuota(10_000, lambda: now)
    quota.add("key", 9_000, int(now) + _DAY)
    quota.add("key", 6_000, int(now) + _DAY + _HOUR)

    assert quota.used("key") == 1.5
    assert quota.used("another") == 0
    now += _DAY + _HOUR
    assert quota.used("key") == 0.6
    now += _HOUR
    assert quota.used("key") == 0
