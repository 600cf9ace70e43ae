"""Since when a subject is being deleted."""

import sqlalchemy as sa

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

DELETED = sa.text("deleted_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("subjects", sa.Column("deleted_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_subjects_deleted_at", "subjects", ["deleted_at"], sqlite_where=DELETED, postgresql_where=DELETED
    )


def downgrade() -> None:
    op.drop_index("ix_subjects_deleted_at", "subjects")
    op.drop_column("subjects", "deleted_at")
