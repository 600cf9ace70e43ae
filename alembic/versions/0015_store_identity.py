"""The identity of the database, which the object store records too, and the deletions that users requested."""

import sqlalchemy as sa

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_identity"),
    )
    op.create_table(
        "deletions",
        sa.Column("prefix", sa.String(120), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("prefix", name="pk_deletions"),
    )
    op.create_index("ix_deletions_created_at", "deletions", ["created_at"])


def downgrade() -> None:
    op.drop_table("deletions")
    op.drop_table("identity")
