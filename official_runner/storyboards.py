"""The storyboards to run: those that Postback claims, of one AdCP release."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BUNDLED", "CLAIMED", "PUBLISHED", "MissingStoryboard", "Storyboards", "chosen"]

_HERE = Path(__file__).parent
_SHARED = _HERE.parent.parent / "shared" / "protocol" / "compliance-3.1.19"
BUNDLED = _HERE / "node_modules" / "@adcp" / "sdk" / "compliance" / "cache" / "3.0.6"
"""The storyboards in the runner's package."""

PUBLISHED = "3.1.19"
"""The release whose results docs/conformance.md shows."""

CLAIMED = (
    "universal/pagination-integrity-list-accounts",  # first: in AdCP 3.0 it expects no accounts but its own
    "universal/capability-discovery",
    "universal/error-compliance",
    "universal/schema-validation",
    "universal/security",
    "universal/v3-envelope-integrity",
    "universal/version-negotiation",
    "universal/idempotency",
    "universal/read-tool-idempotency",
    "universal/get-media-buys-pagination-integrity",
    "universal/get-products-pagination-integrity",
    "universal/deterministic-testing",
    "protocols/media-buy/index",
    "protocols/media-buy/scenarios/delivery_reporting",
    "protocols/media-buy/scenarios/measurement_terms_rejected",
    "protocols/media-buy/scenarios/refine_products",
    "protocols/media-buy/scenarios/event_dedup_flow",
    "protocols/media-buy/scenarios/performance_buy_flow",
    "protocols/media-buy/scenarios/performance_buy_flow_roas",
)
"""What Postback claims, as file names without suffix in a folder of storyboards."""

_CAME_LATER = "came with AdCP 3.1"
_NEEDS_PRODUCTS = "buys a product that it doesn't set up; from AdCP 3.1 on it does"
_NOT_OF_3_0 = {
    "universal/security": "calls an MCP method over A2A as well",
    "universal/version-negotiation": _CAME_LATER,
    "universal/idempotency": _NEEDS_PRODUCTS,
    "universal/read-tool-idempotency": _CAME_LATER,
    "universal/get-products-pagination-integrity": _CAME_LATER,
    "universal/deterministic-testing": _NEEDS_PRODUCTS,
    "protocols/media-buy/scenarios/measurement_terms_rejected": "expects negotiated terms",
    "protocols/media-buy/scenarios/event_dedup_flow": _CAME_LATER,
    "protocols/media-buy/scenarios/performance_buy_flow": _CAME_LATER,
    "protocols/media-buy/scenarios/performance_buy_flow_roas": _CAME_LATER,
}


class MissingStoryboard(Exception):
    """A missing folder or file; the message names it."""


@dataclass(frozen=True)
class Storyboards:
    """Storyboards of one release.

    Attributes:
        release: For example ``3.1.19``.
        folder: Where they are.
        files: The storyboards to run, in order.
        left_out: Claimed storyboards that don't apply to the release, with the reason.
    """

    release: str
    folder: Path
    files: list[Path]
    left_out: dict[str, str]


def chosen(names: Sequence[str] = CLAIMED) -> Storyboards:
    """The storyboards with these names, from the folder in ADCP_STORYBOARDS.

    When it is unset: from ``../shared/protocol/compliance-3.1.19`` if that exists, else those of AdCP 3.0.6 in the
    runner's package.

    Raises:
        MissingStoryboard: The folder or one of the files does not exist.
    """
    folder = Path(os.environ.get("ADCP_STORYBOARDS") or (_SHARED if _SHARED.exists() else BUNDLED)).absolute()
    if not folder.is_dir():
        raise MissingStoryboard(f"{folder} is not a folder. Set ADCP_STORYBOARDS to a folder of AdCP storyboards.")
    release = _release(folder)
    left_out = {name: why for name, why in _NOT_OF_3_0.items() if release.startswith("3.0.") and name in names}
    files = [folder / f"{name}.yaml" for name in names if name not in left_out]
    if missing := [file for file in files if not file.is_file()]:
        raise MissingStoryboard(f"{folder} does not contain {missing[0].relative_to(folder)}.")
    return Storyboards(release, folder, files, left_out)


def _release(folder: Path) -> str:
    """The release in the folder's index, or the folder's name when it has no index."""
    index = folder / "index.json"
    return str(json.loads(index.read_text("utf-8"))["adcp_version"]) if index.is_file() else folder.name
