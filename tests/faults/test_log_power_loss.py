"""A few hundred power losses; ``python -m tests.faults.log_power_loss`` has as many as one likes."""

from __future__ import annotations

from collections import Counter

from tests.faults.log_power_loss import run_try


def test_what_the_log_acknowledged_survives_power_losses() -> None:
    interrupted = Counter(run_try(seed) for seed in range(300))
    assert {"create", "reserve", "write", "sync", "cut", "remove"} <= interrupted.keys()
    assert interrupted.total() - interrupted[""] > 100
