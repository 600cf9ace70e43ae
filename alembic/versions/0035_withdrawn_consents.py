"""Digests of the consents that were withdrawn, by which no bundle brings a subject back after its deletion."""

import sqlalchemy as sa

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "withdrawn_consents",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_withdrawn_consents"),
    )


def downgrade() -> None:
    op.drop_table("withdrawn_consents")
