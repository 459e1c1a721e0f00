"""A clock whose hands a test moves."""

from __future__ import annotations

import time

from postback.clock import Clock

_NANOS = 1_000_000_000
DAY = 86_400


class Hands:
    """Time that stands still until it is let pass, and a wall clock that can be set.

    Attributes:
        clock: What a server goes by.
    """

    def __init__(self, wall: float | None = None) -> None:
        self.wall = time.time() if wall is None else wall
        self.passed = 1_000.0
        self.clock = Clock(lambda: int(self.wall * _NANOS), lambda: int(self.passed * _NANOS))

    def let_pass(self, seconds: float) -> None:
        """Let time pass, which the wall clock notices."""
        self.wall += seconds
        self.passed += seconds
        self.clock.now()

    def set_wall(self, by: float) -> None:
        """Set the wall clock ahead, or back."""
        self.wall += by
        self.clock.now()
