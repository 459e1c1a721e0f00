"""The short form of ``python -m tests.faults.fuzz``: hostile requests of every kind, over every transport."""

from __future__ import annotations

import pytest
from tests.conftest import StartServer
from tests.faults.fuzz import Target, table
from tests.faults.hostile_requests import KINDS

_REQUESTS = 1_500


@pytest.fixture
def target(start_own_server: StartServer) -> Target:
    return Target.start(start_own_server)


def test_hostile_requests_get_answers_and_a_client_that_does_nothing_wrong_is_served(target: Target) -> None:
    came = target.send(0, range(_REQUESTS), slow=20, a_second=10_000)

    assert came["defects"] == []
    assert set(came["kinds"]) == set(KINDS)
    assert min(came["transports"].values()) > _REQUESTS / 5
    assert {"200", "400", "401", "403", "404", "405", "hung up"} <= set(came["statuses"])
    assert came["clean"]["calls"] > 0
    assert f"| All | {_REQUESTS:,} |" in table([came])
    target.check()
