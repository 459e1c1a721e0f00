"""Marks of a test that other platforms know. AdCP's is ``test_event_code``; a test that counts can't be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["find_test_mark", "may_mark_test"]

_FLAGS = frozenset(
    (
        *("istest", "testevent", "istestevent", "testmode", "istestmode", "testorder", "istestorder", "testpurchase"),
        *("testtransaction", "istesttransaction", "testconversion", "istestconversion", "testflag", "testonly"),
        *(
            "dryrun",
            "isdryrun",
            "validateonly",
            "validationonly",
            "testevents",
            "istesting",
            "issandbox",
            "sandboxmode",
        ),
    )
)
_BARE = "test"
"""Also what an experiment is called, so that only a plain yes is a mark."""
_CODES = frozenset(("testeventcode", "testcode"))
_LIVE = "livemode"
_NAMES = _FLAGS | _CODES | {_BARE, _LIVE}

_YES = frozenset(("true", "1", "1.0", "yes", "y", "on", "t"))
_NO = frozenset(("", "false", "0", "0.0", "no", "n", "off", "f", "null", "none", "undefined", "live", "disabled"))


def may_mark_test(name: str) -> bool:
    """Whether a field's name is one of those that mark a test, in any spelling: ``is_test``, ``isTest``, …"""
    return _plain(name) in _NAMES


def find_test_mark(fields: Mapping[str, Any]) -> str | None:
    """The name of the field that marks a test; None without one."""
    return next((name for name, value in fields.items() if _marks(_plain(name), value)), None)


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _marks(name: str, value: Any) -> bool:
    if name not in _NAMES or value is None or isinstance(value, dict | list):
        return False
    text = str(value).strip().lower()
    if name == _BARE:
        return text in _YES
    return text in _NO - {""} if name == _LIVE else text not in _NO
