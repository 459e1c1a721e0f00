"""API keys and tokens in a call's arguments, where logs and traces would keep them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from postback.errors import CredentialInArguments, InvalidRequest
from postback.tasks.arguments import Arguments

__all__ = ["refuse_credentials"]

_NAME = (
    r"(x[_-])?(adcp[_-])?(auth(orization)?|bearer|credentials|jwt|password|api[_-]?(key|token)|"
    r"(access|auth|bearer|id|refresh|session)[_-]?token|private[_-]?key|(client[_-]?)?secret|secret[_-]?key)"
)
_CREDENTIAL = re.compile(_NAME + r"\Z", re.IGNORECASE)
_MAY_HOLD_ONE = re.compile(rb'"%s"\s*:|\\u' % _NAME.encode(), re.IGNORECASE)
"""In JSON: such a name, or letters that are spelt out and may make one. Looking for it costs less than parsing."""

_FOR_THE_SELLER = re.compile(
    r"(push_notification_config|reporting_webhook|artifact_webhook)\..+\Z"
    r"|(?!context\.|ext\.)(.+\.authentication\.credentials|(.+\.)?(property|collection)_list(_exclude)?\.auth_token)\Z",
    re.DOTALL,
)
"""Where AdCP has what the seller is to call others with: webhooks, and lists that somebody else keeps."""

_NOT_SEARCHED = frozenset(("events", "exposures", "totals"))
"""Arrays that may be megabytes, whose items are validated one by one later."""

_TELLABLE = re.compile(r"[\w.-]{1,200}\Z", re.ASCII)


def refuse_credentials(arguments: Arguments) -> None:
    """Check that no field of the call, at whatever depth, is named like a credential and has text.

    Raises:
        CredentialInArguments: One is; the error names its place, and the answer echoes no context.
    """
    searched = {
        name: _parsed(arguments, name)
        for name, raw in arguments.fields.items()
        if name not in _NOT_SEARCHED and (_CREDENTIAL.match(name) or (_has_fields(raw) and _MAY_HOLD_ONE.search(raw)))
    }
    for path in _named_texts(searched):
        if not _FOR_THE_SELLER.match(path):
            # A longer or stranger path may hold more of the caller's than names.
            field = path if _TELLABLE.match(path) else None
            raise CredentialInArguments("A credential was sent among the arguments.", field=field)


def _has_fields(raw: msgspec.Raw) -> bool:
    """Whether the value of a field is an object or a list, which alone have names inside."""
    return memoryview(raw)[0] in b"{["


def _parsed(arguments: Arguments, name: str) -> Any:
    try:
        return arguments.value(name)
    except InvalidRequest:  # for its reader to say
        return None


def _named_texts(searched: dict[str, Any]) -> Iterator[str]:
    """The paths of texts that are named like a credential; those in a list have its name."""
    pending: list[tuple[str, str, Any]] = [("", "", searched)]
    while pending:
        at, name, tree = pending.pop()
        values = tree.items() if isinstance(tree, dict) else ((None, value) for value in tree)
        for index, (key, value) in enumerate(values):
            path = f"{at}{index if key is None else key}"
            if isinstance(value, dict | list):
                pending.append((f"{path}.", key or name, value))
            elif isinstance(value, str) and _CREDENTIAL.match(key or name):
                yield path
