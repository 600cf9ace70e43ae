"""The size of a subject's full frame, the frame of a video, and videos without speech."""

import sqlalchemy as sa

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subjects", sa.Column("full_frame", sa.JSON(none_as_null=True)))
    op.add_column("videos", sa.Column("frame", sa.String(16)))
    op.add_column("videos", sa.Column("idle_s", sa.Double()))


def downgrade() -> None:
    op.drop_column("videos", "idle_s")
    op.drop_column("videos", "frame")
    op.drop_column("subjects", "full_frame")
