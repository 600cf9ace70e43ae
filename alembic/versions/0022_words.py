"""Scripts and voices, titles, captions, pictures of videos; the priority and the turn of jobs."""

import sqlalchemy as sa

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

VIDEO_COLUMNS = {
    "title": sa.String(200),
    "client_metadata": sa.JSON(none_as_null=True),
    "script": sa.String(),
    "voice": sa.String(100),
    "speed": sa.Double(),
    "spoken": sa.JSON(none_as_null=True),
    "speech_key": sa.String(),
    "warnings": sa.JSON(none_as_null=True),
    "captions_key": sa.String(),
    "thumbnail_key": sa.String(),
    "clip_key": sa.String(),
}
JOB_INDEXES = (
    ("state", "priority", "turn", "queued_at", "id"),
    ("state", "kind", "priority", "turn", "queued_at", "id"),
    ("owner", "state", "priority", "turn"),
)


def upgrade() -> None:
    op.create_table(
        "voices",
        sa.Column("id", sa.String(100), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("language", sa.String(32), nullable=False),
        sa.Column("engine", sa.String(32), nullable=False),
        sa.Column("licence", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sample", sa.LargeBinary()),
        sa.Column("sample_sha256", sa.String(64)),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_voices"),
    )
    op.add_column("subjects", sa.Column("thumbnail_key", sa.String()))
    for name, kind in VIDEO_COLUMNS.items():
        op.add_column("videos", sa.Column(name, kind))
    op.add_column("jobs", sa.Column("priority", sa.SmallInteger(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("turn", sa.BigInteger(), nullable=False, server_default="0"))
    for columns in JOB_INDEXES:
        op.create_index(_name(columns), "jobs", columns)


def downgrade() -> None:
    for columns in JOB_INDEXES[::-1]:
        op.drop_index(_name(columns), "jobs")
    op.drop_column("jobs", "turn")
    op.drop_column("jobs", "priority")
    for name in reversed(VIDEO_COLUMNS):
        op.drop_column("videos", name)
    op.drop_column("subjects", "thumbnail_key")
    op.drop_table("voices")


def _name(columns: tuple[str, ...]) -> str:
    return "_".join(("ix_jobs", *columns))
