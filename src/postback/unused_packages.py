"""Packages that libraries load wherever they are installed, and that a server has no use for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["keep_out_unused_packages"]

_UNUSED = frozenset({"pandas"})
"""pyarrow asks of each list that becomes a column whether pandas made it, and loads pandas to find out."""


class _Missing(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """As if the packages weren't installed.

        Raises:
            ModuleNotFoundError: It is one of them.
        """
        if name in _UNUSED:
            raise ModuleNotFoundError(f"A server doesn't load {name}.", name=name)
        return None


def keep_out_unused_packages() -> None:
    """From now on this process, which must be a server's, can't import them."""
    sys.meta_path.insert(0, _Missing())
