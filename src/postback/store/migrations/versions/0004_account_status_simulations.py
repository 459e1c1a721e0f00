"""Accounts that buyers set up and that have a status, and what sandboxes simulate."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# The unique constraint of the first revision has no name of its own on SQLite.
_NAMES = {"uq": "%(table_name)s_%(column_0_name)s_%(column_1_name)s_%(column_2_name)s_key"}


def upgrade() -> None:
    # A brand and operator are unique among a key's accounts, not among all: agents are told nothing of each other.
    with op.batch_alter_table("account", naming_convention=_NAMES) as account:
        account.drop_constraint("account_brand_domain_operator_sandbox_key", type_="unique")
        account.add_column(sa.Column("status", sa.Text, nullable=False, server_default="active"))
        account.add_column(sa.Column("billing", sa.Text))
        account.add_column(sa.Column("payment_terms", sa.Text))
        account.add_column(sa.Column("provisioned_by", sa.Text))
    op.create_index("account_natural_key", "account", ["brand_domain", "operator"])
    op.create_table(
        "simulation",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
