"""Priors of lips that are learnt from subjects whose consent allows it."""

import sqlalchemy as sa

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subjects", sa.Column("may_improve_others", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("subjects", sa.Column("may_improve_others_at", sa.DateTime(timezone=True)))
    op.add_column("subjects", sa.Column("lip_prior", sa.String(40)))
    op.create_table(
        "lip_priors",
        sa.Column("version", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("people", sa.JSON(), nullable=False),
        sa.Column("figures", sa.JSON()),
        sa.Column("object_key", sa.String()),
        sa.Column("sha256", sa.String(64)),
        sa.Column("error", sa.JSON()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("version", name="pk_lip_priors"),
    )


def downgrade() -> None:
    op.drop_table("lip_priors")
    for column in ("lip_prior", "may_improve_others_at", "may_improve_others"):
        op.drop_column("subjects", column)
