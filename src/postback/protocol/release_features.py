"""Where requests and responses differ by release. enums.py has the lists that grew, error_codes.py the error codes.

None is a caller that pins no release. It gets what is valid in all of them. MAJOR_ONLY gets the shapes of the newest
release, and the values that every release has.
"""

from __future__ import annotations

from postback.protocol.releases import MAJOR_ONLY, RELEASES, Release

__all__ = [
    "has_account_currency_modes",
    "has_available_actions",
    "has_buying_modes",
    "has_fine_actions",
    "has_impairments",
    "has_one_status",
    "has_propagation_surfaces",
    "has_renaming",
    "has_row_currencies",
    "has_scenario",
    "needs_key",
]


def needs_key(release: Release | None) -> bool:
    """Whether calls that change something need an idempotency_key; in unversioned requests some tasks don't."""
    return release is not None


def has_one_status(release: Release | None) -> bool:
    """Whether ``status`` in a response about a media buy is the buy's; in later releases it is the task's.

    What both can be is final. Clients of 3.0, which pin only the major, would take a task's ``completed`` for a media
    buy that has ended; AdCP's official runner does.
    """
    return release in ("3.0", MAJOR_ONLY)


def has_fine_actions(release: Release | None) -> bool:
    """Whether single actions on a media buy have names, for example increase_budget, beside update_budget."""
    return release != MAJOR_ONLY and _since("3.1", release)


def has_available_actions(release: Release | None) -> bool:
    """Whether media buys show ``available_actions``; an unversioned caller may ignore them."""
    return release != "3.0"


def has_impairments(release: Release | None) -> bool:
    """Whether media buys show their health and what impairs them; an unversioned caller may ignore both."""
    return release != "3.0"


def has_propagation_surfaces(release: Release | None) -> bool:
    """Whether capabilities state where impairments of media buys are shown."""
    return _since("3.1", release)


def has_renaming(release: Release | None) -> bool:
    """Whether renaming a media buy is an action with a name."""
    return release != MAJOR_ONLY and _since("3.2", release)


def has_buying_modes(release: Release | None) -> bool:
    """Whether capabilities list the modes of get_products."""
    return _since("3.1", release)


def has_account_currency_modes(release: Release | None) -> bool:
    """Whether capabilities state what determines an account's currency."""
    return _since("3.2", release)


def has_row_currencies(release: Release | None) -> bool:
    """Whether each media buy in a delivery report names its currency; earlier releases require one for the response.

    Clients of 3.0, which pin only the major, require that, too.
    """
    return release != MAJOR_ONLY and _since("3.2", release)


def has_scenario(release: Release | None, name: str) -> bool:
    """Whether the release names a test controller's scenario; AdCP 3.0 has no names for seeding and queries."""
    return release not in ("3.0", MAJOR_ONLY) or not name.startswith(("seed_", "query_"))


def _since(first: Release, release: Release | None) -> bool:
    return release == MAJOR_ONLY or (release is not None and RELEASES.index(release) >= RELEASES.index(first))
