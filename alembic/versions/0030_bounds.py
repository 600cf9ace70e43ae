"""Indexes of pending deliveries by webhook, of large stored responses, and of the videos in the trash of an owner."""

import sqlalchemy as sa

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

LARGE = sa.text("length(body) > 65536")
TRASHED = sa.text("trashed_until IS NOT NULL")
PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    op.create_index("ix_videos_trash", "videos", ["owner", "id"], sqlite_where=TRASHED, postgresql_where=TRASHED)
    op.create_index("ix_answers_large", "answers", ["owner"], sqlite_where=LARGE, postgresql_where=LARGE)
    op.create_index(
        "ix_deliveries_webhook_id_next_at_id",
        "deliveries",
        ["webhook_id", "next_at", "id"],
        sqlite_where=PENDING,
        postgresql_where=PENDING,
    )
    op.drop_index("ix_deliveries_state_next_at", "deliveries")


def downgrade() -> None:
    op.create_index("ix_deliveries_state_next_at", "deliveries", ["state", "next_at"])
    op.drop_index("ix_deliveries_webhook_id_next_at_id", "deliveries")
    op.drop_index("ix_answers_large", "answers")
    op.drop_index("ix_videos_trash", "videos")
