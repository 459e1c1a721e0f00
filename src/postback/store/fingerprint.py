"""The fingerprint of an installation: what tells which secret, stores and kind of server belong together.

Both stores have it. It is written to the control store first, as incomplete, then to the event store, and then it is
complete: so a start knows whether a store lost it, or an earlier start was interrupted.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore
from postback.store.tables import installation

__all__ = [
    "Fingerprint",
    "StoredFingerprint",
    "complete_fingerprint",
    "fingerprint_in",
    "log_owner",
    "note_moved",
    "replace_fingerprint",
    "require_not_moved",
    "stored",
]


class Fingerprint(NamedTuple):
    """What both stores know of the installation.

    Attributes:
        installation_id: 32 random hexadecimal digits.
        secret_check: A keyed hash that tells whether a secret is the installation's, and nothing of the secret.
        sandbox: Whether its server is a sandbox.
        rotation: How often the secret was replaced.
    """

    installation_id: str
    secret_check: str
    sandbox: bool
    rotation: int

    @classmethod
    def new(cls, secret: bytes, *, sandbox: bool) -> Fingerprint:
        """The fingerprint of a new installation."""
        return cls(secrets.token_hex(16), _secret_check(secret), sandbox, 0)

    def fits(self, secret: bytes) -> bool:
        """Whether a secret is the installation's."""
        return secrets.compare_digest(self.secret_check, _secret_check(secret))

    @property
    def mark(self) -> str:
        """Eight digits that tell whose a file is, and from before which replacement of the secret."""
        return blake2b(f"{self.installation_id} {self.rotation}".encode(), digest_size=4).hexdigest()

    def rotated(self, secret: bytes) -> Fingerprint:
        """The fingerprint with another secret."""
        return self._replace(secret_check=_secret_check(secret), rotation=self.rotation + 1)


class StoredFingerprint(NamedTuple):
    """The fingerprint in the control store.

    Attributes:
        fingerprint: The fingerprint.
        complete: Whether the event store has it, too.
        moved_to: The place to which the installation is being moved, or has.
    """

    fingerprint: Fingerprint
    complete: bool
    moved_to: str | None = None


def stored(control: ControlStore) -> StoredFingerprint | None:
    """The fingerprint in the control store; None before the first start with one."""
    with control.connect() as connection:
        row = connection.execute(select(installation)).first()
    if row is None:
        return None
    fingerprint = Fingerprint(*(getattr(row, name) for name in Fingerprint._fields))
    return StoredFingerprint(fingerprint, row.complete, row.moved_to)


def fingerprint_in(events: EventStore) -> Fingerprint | None:
    """The fingerprint in an event store; None before the first start with it."""
    return next((Fingerprint(*row) for row in events.query("installation")), None)


def require_not_moved(found: StoredFingerprint | None) -> None:
    """Check that stores with this fingerprint were not left for others.

    Raises:
        StartupError: They were.
    """
    if found and found.moved_to:
        raise StartupError(
            f"This installation has moved to {found.moved_to}, or is being moved there: whatever is stored here now "
            "would be missing there. Use the settings that 'postback move' printed; if it did not end, run it again. "
            "To use these stores all the same, give the move up: postback move --undo"
        )


def log_owner(control: ControlStore) -> str:
    """The mark of the installation that the segments of its ingest log have; empty before its first start."""
    found = stored(control)
    return found.fingerprint.mark if found else ""


def note_moved(connection: Connection, place: str | None) -> None:
    """Note in the control store where the installation is being moved, in a transaction; None: it stays."""
    connection.execute(update(installation).values(moved_to=place))


def replace_fingerprint(connection: Connection, fingerprint: Fingerprint) -> None:
    """Replace the fingerprint in the control store, in a transaction; the event store gets it next."""
    connection.execute(update(installation).values(fingerprint._asdict() | {"complete": False}))


def complete_fingerprint(control: ControlStore, stores: Iterable[EventStore], fingerprint: Fingerprint) -> None:
    """Give event stores the fingerprint that the control store has, so that all have it."""
    for events in stores:
        events.execute("note_installation", **fingerprint._asdict())
    with control.begin() as connection:
        connection.execute(update(installation).values(complete=True))


def _secret_check(secret: bytes) -> str:
    return blake2b(key=secret, person=b"pb-fingerprint", digest_size=16).hexdigest()
