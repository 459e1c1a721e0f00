"""What an API key may be used for, and how far attribution has come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("api_key", sa.Column("scope", sa.Text, nullable=False, server_default="buyer"))
    # The operator's own keys do both.
    op.execute("UPDATE api_key SET scope = 'both' WHERE name IN ('bootstrap', 'first start')")
    op.create_table(
        "attribution_state",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("document", sa.JSON, nullable=False),
    )
