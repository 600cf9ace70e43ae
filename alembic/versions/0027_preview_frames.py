"""Frames that show what a video will look like, and the requests for them."""

import sqlalchemy as sa

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "preview_frames",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("subject_id", sa.String(40), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("background", sa.LargeBinary()),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("picture", sa.LargeBinary()),
        sa.Column("error", sa.JSON()),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_preview_frames"),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subjects.id"], name="fk_preview_frames_subject_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_preview_frames_state_owner_asked_at", "preview_frames", ["state", "owner", "asked_at"])
    op.create_index("ix_preview_frames_subject_id", "preview_frames", ["subject_id"])
    op.create_index("ix_preview_frames_asked_at", "preview_frames", ["asked_at"])


def downgrade() -> None:
    op.drop_table("preview_frames")
