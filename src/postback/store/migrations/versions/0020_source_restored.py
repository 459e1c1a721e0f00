"""Since when a source is active again, so that the time in which it was deleted isn't taken for an outage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("event_source", sa.Column("restored_at", sa.BigInteger))
