"""Which idempotency keys are known to be new."""

from __future__ import annotations

from postback.store.known_keys import KnownKeys


def test_a_key_that_was_used_is_never_taken_for_new_within_a_day() -> None:
    clock = [0.0]
    keys = KnownKeys(86_400, lambda: clock[0])
    for hour in range(100):
        clock[0] = hour * 3_600
        keys.add("caller", f"key-{hour}")
        for earlier in range(max(0, hour - 24), hour + 1):
            assert keys.may_have("caller", f"key-{earlier}")
    assert not keys.may_have("caller", "key-0"), "it is forgotten some day"


def test_most_new_keys_are_known_to_be_new() -> None:
    keys = KnownKeys(86_400)
    for number in range(20_000):
        keys.add("caller", f"used-{number}")
    taken_for_used = sum(keys.may_have("caller", f"new-{number}") for number in range(20_000))
    assert taken_for_used < 20


def test_a_key_of_another_caller_is_new() -> None:
    keys = KnownKeys(86_400)
    keys.add("caller", "key")
    assert not keys.may_have("another", "key")
