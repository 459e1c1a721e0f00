"""The short form of ``python -m tests.faults.chaos``: a few faults, one of them while a server is down."""

from __future__ import annotations

from typing import Any

import pytest
from tests.faults.chaos import run_try, table
from tests.faults.cluster import faketime
from tests.faults.cluster_faults import CLOCK

_FAULTS = [
    "a server is killed",
    "a shard's acknowledgement of an insert is lost",
    "PostgreSQL refuses connections",
    *([CLOCK] if faketime() else []),
]


@pytest.fixture(scope="module")
def came() -> dict[str, Any]:
    """What came of a try in which all was well in the end."""
    return run_try(1, _FAULTS, lasting=[1])


def test_what_a_cluster_acknowledged_is_stored_and_counted_once_whatever_befalls_it(came: dict[str, Any]) -> None:
    assert came["faults"] == dict.fromkeys(_FAULTS, 1)
    assert came["acknowledged"]["events"] > 100
    assert came["acknowledged"]["media buys"] >= 10
    assert f"| All | {len(_FAULTS)} |" in table([came])


@pytest.mark.skipif(not faketime(), reason="Debian's package faketime is not installed")
def test_so_it_is_when_the_clock_of_a_server_is_ten_seconds_off(came: dict[str, Any]) -> None:
    assert CLOCK in came["faults"]
