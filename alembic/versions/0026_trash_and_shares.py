"""Until when a subject or video is in the trash, and links by which everybody can watch a video."""

import sqlalchemy as sa

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

TRASHED = sa.text("trashed_until IS NOT NULL")


def upgrade() -> None:
    for table in ("subjects", "videos"):
        op.add_column(table, sa.Column("trashed_until", sa.DateTime(timezone=True)))
        op.create_index(
            f"ix_{table}_trashed_until", table, ["trashed_until"], sqlite_where=TRASHED, postgresql_where=TRASHED
        )
    op.create_table(
        "shares",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("video_id", sa.String(40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_shares"),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name="fk_shares_video_id", ondelete="CASCADE"),
    )
    op.create_index("ix_shares_video_id_id", "shares", ["video_id", "id"])
    op.create_index("ix_shares_expires_at", "shares", ["expires_at"])


def downgrade() -> None:
    op.drop_table("shares")
    for table in ("subjects", "videos"):
        op.drop_index(f"ix_{table}_trashed_until", table)
        op.drop_column(table, "trashed_until")
