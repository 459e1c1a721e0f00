"""Where calls and answers differ by release; enums.py has the lists that grew, vocabulary.py the words for errors.

None is a caller that pins no release. It gets what is valid in all of them.
"""

from __future__ import annotations

from postback.protocol.releases import RELEASES, Release

__all__ = [
    "has_account_currency_modes",
    "has_available_actions",
    "has_buying_modes",
    "has_fine_actions",
    "has_one_status",
    "has_renaming",
    "has_scenario",
    "needs_key",
]


def needs_key(release: Release | None) -> bool:
    """Whether calls that change something need an idempotency_key; the seed's dialect has tasks that don't."""
    return release is not None


def has_one_status(release: Release | None) -> bool:
    """Whether ``status`` of an answer about a media buy is the buy's; later it is the task's."""
    return release == "3.0"


def has_fine_actions(release: Release | None) -> bool:
    """Whether there are words for single actions on a media buy, as increase_budget, beside update_budget."""
    return _since("3.1", release)


def has_available_actions(release: Release | None) -> bool:
    """Whether media buys show ``available_actions``; who pins nothing may pass them over."""
    return release != "3.0"


def has_renaming(release: Release | None) -> bool:
    """Whether there is a word for changing a media buy's name."""
    return _since("3.2", release)


def has_buying_modes(release: Release | None) -> bool:
    """Whether capabilities list the modes of get_products."""
    return _since("3.1", release)


def has_account_currency_modes(release: Release | None) -> bool:
    """Whether capabilities say what decides an account's currency."""
    return _since("3.2", release)


def has_scenario(release: Release | None, name: str) -> bool:
    """Whether there is a name for what a test controller can do; AdCP 3.0 had none for seeding and queries."""
    return release != "3.0" or not name.startswith(("seed_", "query_"))


def _since(first: Release, release: Release | None) -> bool:
    return release is not None and RELEASES.index(release) >= RELEASES.index(first)
