"""The first tables: subjects, videos, jobs."""

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "subjects",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("preset", sa.String(16), nullable=False),
        sa.Column("consent", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("footage", DOCUMENT),
        sa.Column("quality", DOCUMENT),
        sa.Column("source_key", sa.String(), nullable=False),
        sa.Column("dataset_key", sa.String()),
        sa.Column("checkpoint_key", sa.String()),
        sa.Column("run_key", sa.String()),
        sa.Column("preview_key", sa.String()),
        sa.PrimaryKeyConstraint("id", name="pk_subjects"),
    )
    op.create_table(
        "videos",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("subject_id", sa.String(40), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("options", DOCUMENT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("audio_key", sa.String(), nullable=False),
        sa.Column("background_key", sa.String()),
        sa.Column("file_key", sa.String()),
        sa.Column("sha256", sa.String(64)),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("duration_s", sa.Double()),
        sa.Column("frames", sa.Integer()),
        sa.Column("width", sa.Integer()),
        sa.Column("height", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="pk_videos"),
        sa.ForeignKeyConstraint(["subject_id"], ["subjects.id"], name="fk_videos_subject_id", ondelete="CASCADE"),
    )
    op.create_index("ix_videos_subject_id", "videos", ["subject_id"])
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("subject_id", sa.String(40), nullable=False),
        sa.Column("video_id", sa.String(40)),
        sa.Column("stage", sa.String(32)),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("eta_s", sa.Double()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("error", DOCUMENT),
        sa.Column("worker", sa.String(80)),
        sa.Column("lease_until", TIME),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("queued_at", TIME, nullable=False),
        sa.Column("started_at", TIME),
        sa.Column("finished_at", TIME),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(["subject_id"], ["subjects.id"], name="fk_jobs_subject_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name="fk_jobs_video_id", ondelete="CASCADE"),
    )
    op.create_index("ix_jobs_state_queued_at_id", "jobs", ["state", "queued_at", "id"])
    op.create_index("ix_jobs_subject_id", "jobs", ["subject_id"])
    op.create_index("ix_jobs_video_id", "jobs", ["video_id"])


def downgrade() -> None:
    op.drop_table("jobs")
    op.drop_table("videos")
    op.drop_table("subjects")
