"""Accounts, API keys, event sources and idempotency records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("brand_domain", sa.Text),
        sa.Column("operator", sa.Text),
        sa.Column("sandbox", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("brand_domain", "operator", "sandbox"),
    )
    op.create_table(
        "api_key",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_table(
        "api_key_account",
        sa.Column("key_id", sa.Text, sa.ForeignKey("api_key.key_id"), primary_key=True),
        sa.Column("account_id", sa.Text, sa.ForeignKey("account.account_id"), primary_key=True),
    )
    op.create_table(
        "event_source",
        sa.Column("account_id", sa.Text, sa.ForeignKey("account.account_id"), primary_key=True),
        sa.Column("event_source_id", sa.Text, primary_key=True),
        sa.Column("seller_id", sa.Text, nullable=False, unique=True),
        sa.Column("managed_by", sa.Text, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("event_types", sa.JSON(none_as_null=True)),
        sa.Column("value_currencies", sa.JSON(none_as_null=True)),
        sa.Column("action_source", sa.Text),
        sa.Column("allowed_domains", sa.JSON(none_as_null=True)),
        sa.Column("surface", sa.JSON(none_as_null=True)),
        sa.Column("max_event_age_days", sa.Integer),
        sa.Column("archived", sa.Boolean, nullable=False),
    )
    op.create_table(
        "idempotency",
        sa.Column("idempotency_key", sa.Text, primary_key=True),
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    )
