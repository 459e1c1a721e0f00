"""When a source that was deleted was created again, so that the time between isn't taken for an outage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("event_source", sa.Column("restored_at", sa.BigInteger))
