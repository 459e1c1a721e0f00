"""What the browser tag of an event source may do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("event_source", sa.Column("tag", sa.JSON(none_as_null=True)))
