"""Since when a subject is being deleted, and where the background of a preview frame is stored."""

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
    op.add_column("preview_frames", sa.Column("background_key", sa.String()))


def downgrade() -> None:
    op.drop_column("preview_frames", "background_key")
    op.drop_index("ix_subjects_deleted_at", "subjects")
    op.drop_column("subjects", "deleted_at")
