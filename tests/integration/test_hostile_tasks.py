"""Right calls of every task that changes something, spoiled somewhere: no door fails, and each answer is AdCP's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.acceptance.conversions import DOORS, Door, send
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid, unique_key
from tests.conftest import examples
from tests.right_calls import RIGHT_CALLS

from postback.events.rejection import REASONS

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

_BESIDE = ("idempotency_key", "adcp_version", "adcp_major_version", "context", "ext", "account", "revision", "unknown")
"""Members that the calls don't have, and that may be put into them."""
_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)

Path = tuple[str | int, ...]


@pytest.fixture(scope="module")
def sandbox(start_server: StartServer) -> Server:
    """A sandbox of its own, in which a media buy is seeded: spoiled calls change what is there."""
    running = start_server(sandbox="true")
    running.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    seed = {"scenario": "seed_media_buy", "params": {"media_buy_id": "seeded", "fixture": {"status": "active"}}}
    running.call("comply_test_controller", **seed).raise_for_status()
    return running


def _paths(tree: Any, path: Path = ()) -> Iterator[Path]:
    """Where there is something in a tree."""
    branches = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for step, branch in branches:
        yield (*path, step)
        yield from _paths(branch, (*path, step))


def _put(tree: Any, path: Path, value: Any) -> None:
    """Put a value at a path, where an earlier change left one."""
    *steps, last = path
    for step in steps:
        if isinstance(tree, dict):
            tree = tree.get(str(step))
        elif isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
    if isinstance(tree, dict):
        tree[str(last)] = value
    elif isinstance(tree, list) and tree:
        tree[0] = value


@st.composite
def _spoiled(draw: st.DrawFn, task: str) -> dict[str, Any]:
    """A right call of a task, in some dialect, changed in one to four places."""
    right: dict[str, Any] = draw(st.sampled_from(RIGHT_CALLS[task]))
    call = deepcopy(right) | {"idempotency_key": unique_key()} | pinned(draw(st.sampled_from(DIALECTS)))
    places = st.sampled_from([*_paths(right), *((name,) for name in _BESIDE)])
    for path, value in draw(st.lists(st.tuples(places, _ANYTHING), min_size=1, max_size=4)):
        _put(call, path, value)
    return call


@pytest.mark.parametrize("task", RIGHT_CALLS)
@pytest.mark.parametrize("door", DOORS)
def test_unspoiled_these_calls_are_right(sandbox: Server, door: Door, task: str) -> None:
    for right in RIGHT_CALLS[task]:
        _, answer = send(sandbox, door, task, json.dumps(right | {"idempotency_key": unique_key()}).encode())

        assert answer["status"] != "failed", answer


@pytest.mark.parametrize("task", RIGHT_CALLS)
def test_whatever_becomes_of_a_call_its_answer_is_one_that_the_schemas_know(sandbox: Server, task: str) -> None:
    @settings(examples(25), suppress_health_check=list(HealthCheck))
    @given(door=st.sampled_from(DOORS), call=_spoiled(task))
    def every_answer_is_known(door: Door, call: dict[str, Any]) -> None:
        status, answer = send(sandbox, door, task, json.dumps(call).encode())

        assert status < 500
        assert answer.get("adcp_error", {}).get("details", {}).get("reason") != "INTERNAL_ERROR"
        served = answer.get("adcp_version")
        assert served in DIALECTS
        refuse_unless_valid(task, answer, served)
        for failure in answer.get("partial_failures", ()):
            assert failure["reason"] in REASONS
            assert failure["field"].startswith(f"events[{failure['index']}]")

    every_answer_is_known()
