"""The columns of the outbox in the words of its code: deliveries, encrypted."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("ALTER TABLE forward RENAME COLUMN parcel_id TO delivery_id")
    op.execute("ALTER TABLE forward RENAME COLUMN sealed TO encrypted")
