"""Struct types, made ready for threads.

msgspec works out how a struct is decoded when one is decoded for the first time. A second thread that decodes one in
this moment meets what is half done, and the process ends with a segmentation fault (seen with msgspec 0.22). So it is
worked out before there are threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec

__all__ = ["prepare_structs"]


def prepare_structs() -> None:
    """Work out how every struct is decoded that is imported. Call it before threads decode any."""
    for struct in dict.fromkeys(_derived(msgspec.Struct)):
        with suppress(TypeError):  # it is written only: JSON doesn't tell its unions apart
            msgspec.json.Decoder(struct)


def _derived(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for derived in struct.__subclasses__():
        yield derived
        yield from _derived(derived)
