"""API keys and tokens in a call's arguments, where logs and traces would keep them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from postback.arguments import Arguments
from postback.errors import CredentialInArguments

__all__ = ["refuse_credentials"]

_PLACES = ("context", "ext")
_CREDENTIAL = re.compile(
    r"(x[_-])?(adcp[_-])?(auth(orization)?|api[_-]?key|(access|auth|bearer|refresh)[_-]?token|client[_-]?secret|"
    r"password|private[_-]?key)\Z",
    re.IGNORECASE,
)


def refuse_credentials(arguments: Arguments) -> None:
    """See that no member of the call, its ``context`` or its ``ext`` is named like a credential.

    Raises:
        CredentialInArguments: One is; the error names its place, and the answer echoes no context.
    """
    named = [name for name in arguments.members if _CREDENTIAL.match(name)]
    for place in _PLACES:
        if place in arguments.members:
            named += [f"{place}.{path}" for path in _found(arguments.value(place))]
    if named:
        raise CredentialInArguments("A credential was sent among the arguments.", field=named[0])


def _found(value: Any) -> Iterator[str]:
    members = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for name, inner in members:
        if isinstance(name, str) and _CREDENTIAL.match(name) and isinstance(inner, str):
            yield name
        else:
            yield from (f"{name}.{path}" for path in _found(inner))
