"""Sessions of the console: a random token in the browser, its digest and whose it is in the control store."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from sqlalchemy import ColumnElement, delete, select

from postback.store.control_store import ControlStore
from postback.store.tables import console_session

__all__ = ["SESSION_SECONDS", "ConsoleSessions"]

SESSION_SECONDS = 12 * 3600
"""How long a session lasts after signing in, whatever happens in it."""

_MOST_SESSIONS = 100
"""Of one key: a team shares one, and nobody begins so many in half a day. The oldest end."""


class ConsoleSessions:
    """The sessions of people who signed in. Synchronous and thread-safe.

    A session says which key opened it and nothing about what that key may see: that is looked up on every request, so
    a key that is revoked ends its sessions.

    Args:
        control: Where they are stored.
        now: Running time in seconds, so that a wall clock that is wrong for a while lengthens no session.
    """

    def __init__(self, control: ControlStore, now: Callable[[], float]) -> None:
        self._control = control
        self._now = now

    def begin(self, key_id: str) -> str:
        """Begin a session of this key; returns its token. Sessions that have expired, or are too many, are deleted."""
        token = secrets.token_urlsafe(32)
        now = int(self._now())
        row = {"digest": _digest(token), "key_id": key_id, "expires_at": now + SESSION_SECONDS}
        digest, expires_at = console_session.c.digest, console_session.c.expires_at
        of_key = console_session.c.key_id == key_id
        newest = select(digest).where(of_key, _lasts(now)).order_by(expires_at.desc(), digest).limit(_MOST_SESSIONS - 1)
        with self._control.begin() as connection:
            too_many = of_key & digest.not_in(connection.scalars(newest).all())
            connection.execute(delete(console_session).where(~_lasts(now) | too_many))
            connection.execute(console_session.insert().values(row))
        return token

    def key_id(self, token: str) -> str | None:
        """The key that a session belongs to; None if it has ended."""
        of_token = console_session.c.digest == _digest(token)
        with self._control.connect() as connection:
            return connection.scalar(select(console_session.c.key_id).where(of_token, _lasts(int(self._now()))))

    def end(self, token: str) -> None:
        """End a session. Idempotent."""
        with self._control.begin() as connection:
            connection.execute(delete(console_session).where(console_session.c.digest == _digest(token)))


def _lasts(now: int) -> ColumnElement[bool]:
    # An earlier version began sessions by the wall clock, which may be months ahead of running time.
    return console_session.c.expires_at.between(now + 1, now + 2 * SESSION_SECONDS)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
