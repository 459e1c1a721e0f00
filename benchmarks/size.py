"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "LARGE_EXPOSURES", "QUICK", "Size"]

LARGE_EXPOSURES = 50_000_000
"""What ``--large`` adds to ``growing_exposures``: 6 GB of disk."""


@dataclass(frozen=True, slots=True)
class Size:
    """The extent of each section.

    Attributes:
        sustained_s: Seconds of full batches over REST.
        floor_batches: Batches of the floor, before and after.
        mcp_calls: Events in a call over MCP → calls.
        sdk_calls: Calls of each size to the official SDK's server.
        single_s: Seconds of single events, for each way of sending them.
        peer_s: Seconds of batches beside the peer, for each size of them.
        stored: Numbers of stored events at which the rate is measured, rising.
        stored_s: Seconds that each of these rates is measured.
        ingested: Events after which memory is read.
        starts: Starts that are timed, and kills.
        exposures: Exposures against which events are attributed, and rows that are imported.
        growing_exposures: Numbers of exposures at which attribution is measured, rising.
        growing_conversions: Numbers of conversions in one media buy at which the report is measured, rising.
        rounds: Rounds of a comparison with another commit.
        round_s: Seconds of each load in a round.
    """

    sustained_s: float
    floor_batches: int
    mcp_calls: dict[int, int]
    sdk_calls: int
    single_s: int
    peer_s: float
    stored: tuple[int, ...]
    stored_s: float
    ingested: int
    starts: int
    exposures: int
    growing_exposures: tuple[int, ...]
    growing_conversions: tuple[int, ...]
    rounds: int
    round_s: float


FULL = Size(
    sustained_s=60,
    floor_batches=100,
    mcp_calls={1: 300, 100: 200, 10_000: 30},
    sdk_calls=50,
    single_s=20,
    peer_s=30,
    stored=(0, 5_000_000, 20_000_000),
    stored_s=20,
    ingested=5_000_000,
    starts=5,
    exposures=10_000_000,
    growing_exposures=(1_000_000, 10_000_000),
    growing_conversions=(100_000, 1_000_000, 5_000_000),
    rounds=4,
    round_s=15,
)

QUICK = Size(
    sustained_s=3,
    floor_batches=5,
    mcp_calls={1: 20, 100: 5, 10_000: 3},
    sdk_calls=3,
    single_s=2,
    peer_s=2,
    stored=(0, 100_000, 300_000),
    stored_s=2,
    ingested=100_000,
    starts=2,
    exposures=200_000,
    growing_exposures=(100_000, 200_000),
    growing_conversions=(10_000, 20_000),
    rounds=2,
    round_s=2,
)
