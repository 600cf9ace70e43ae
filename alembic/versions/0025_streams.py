"""What of a video can be watched while it is rendered."""

import sqlalchemy as sa

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("videos", sa.Column("stream_attempt", sa.Integer()))
    op.add_column("videos", sa.Column("stream_frames", sa.Integer()))
    op.create_index("ix_videos_stream_attempt", "videos", ["stream_attempt"])


def downgrade() -> None:
    op.drop_index("ix_videos_stream_attempt", "videos")
    op.drop_column("videos", "stream_frames")
    op.drop_column("videos", "stream_attempt")
