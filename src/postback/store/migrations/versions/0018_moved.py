"""Where an installation has moved, so that the stores that it left are not used again by mistake."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("installation", sa.Column("moved_to", sa.Text))
