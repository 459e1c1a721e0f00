"""What the server remembers of recent events: the same as a dictionary does, as long as there is room."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from postback.store.recent_identities import RecentIdentities, hashes_of

_CALLS = st.lists(
    st.lists(st.tuples(st.sampled_from([f"order_{n}" for n in range(30)]), st.integers(0, 2)), min_size=1, max_size=40),
    max_size=6,
)


@given(calls=_CALLS)
def test_duplicates_are_told_as_a_dictionary_tells_them(calls: list[list[tuple[str, int]]]) -> None:
    recent, known = RecentIdentities(complete=True, size=256), dict[str, int]()
    for call in calls:
        claim = recent.claim(hashes_of([id_ for id_, _ in call], ["shop"]), [digest for _, digest in call])
        earlier: set[str] = set()
        for (id_, digest), mark, in_call in zip(call, claim.marks, claim.in_call, strict=True):
            assert in_call == (id_ in earlier)
            assert mark == (0 if id_ not in known else 1 if known[id_] == digest else 2)
            known.setdefault(id_, digest)
            earlier.add(id_)
    assert recent.complete


def test_single_events_and_batches_share_one_memory() -> None:
    recent = RecentIdentities(complete=True)
    ids = [f"order_{number}" for number in range(100)]
    recent.claim(hashes_of(ids, ["shop"]), [7] * 100)
    assert list(recent.claim(hashes_of(ids[50:51], ["shop"]), [7]).marks) == [1]
    assert list(recent.claim(hashes_of(["new"], ["shop"]), [7]).marks) == [0]
    assert recent.claim(hashes_of([*ids, "new"], ["shop"]), [7] * 101).marks.tolist() == [1] * 101


def test_an_id_is_another_one_in_another_scope() -> None:
    recent = RecentIdentities(complete=True)
    for ids in (["1"], list(map(str, range(40)))):
        for scopes in (["a"], ["b"]):
            assert not np.any(
                recent.claim(hashes_of([f"x{len(ids)}{id_}" for id_ in ids], scopes), [0] * len(ids)).marks
            )
    mixed = ["a", "b"] * 20
    assert hashes_of(list(map(str, range(40))), mixed).tolist() == [
        hashed for number, scope in enumerate(mixed) for hashed in hashes_of([str(number)], [scope])
    ]


def test_what_was_not_stored_is_forgotten() -> None:
    recent = RecentIdentities(complete=True)
    recent.claim(hashes_of(["a"], ["shop"]), [1])
    lost = recent.claim(hashes_of(["a", "b"], ["shop"]), [1, 2])
    assert list(lost.marks) == [1, 0]
    recent.release(lost)
    assert list(recent.claim(hashes_of(["a", "b"], ["shop"]), [1, 2]).marks) == [1, 0]
    assert not recent.complete


def test_a_full_memory_admits_that_it_forgets() -> None:
    for step in (5, 100):
        recent = RecentIdentities(complete=True, size=64)
        for start in range(0, 300, step):
            ids = [f"order_{number}" for number in range(start, start + step)]
            assert not any(recent.claim(hashes_of(ids, ["shop"]), [0] * step).marks)
        forgotten = sum(
            mark == 0 for mark in recent.claim(hashes_of([f"order_{n}" for n in range(300)], ["shop"]), [0] * 300).marks
        )
        assert forgotten
        assert not recent.complete
