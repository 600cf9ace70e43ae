"""Quotas: limits of single owners, seconds rendered, and bytes stored."""

import sqlalchemy as sa

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "owners",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("quotas", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_owners"),
    )
    op.create_table(
        "usages",
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "day", name="pk_usages"),
    )
    for table in ("subjects", "videos"):  # of what is there already only the videos' own size is known
        op.add_column(table, sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE videos SET stored_bytes = coalesce(size_bytes, 0)")


def downgrade() -> None:
    for table in ("subjects", "videos"):
        op.drop_column(table, "stored_bytes")
    op.drop_table("usages")
    op.drop_table("owners")
