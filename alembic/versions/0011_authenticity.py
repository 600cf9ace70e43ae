"""Records of consent, watermarks and signatures of videos, and verifications."""

import sqlalchemy as sa

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON(none_as_null=True)

CONSENT = {"consent_by": sa.String(), "footage_sha256": sa.String(64), "withdrawn_at": TIME, "purged_at": TIME}
"""Of older subjects the record is their text and the time at which they were made, which were always asked for."""


def upgrade() -> None:
    for name, kind in CONSENT.items():
        op.add_column("subjects", sa.Column(name, kind))
    op.add_column("videos", sa.Column("credentials_key", sa.String()))
    op.add_column("videos", sa.Column("mark", sa.BigInteger()))
    op.create_index("ix_videos_mark", "videos", ["mark"], unique=True)
    op.create_index("ix_videos_sha256", "videos", ["sha256"])
    op.create_table(
        "verifications",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("file_key", sa.String()),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("findings", DOCUMENT),
        sa.Column("made_id", sa.String(40)),
        sa.Column("error", DOCUMENT),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_verifications"),
    )
    op.create_index("ix_verifications_state_id", "verifications", ["state", "id"])
    op.create_table(
        "certificates",
        sa.Column("serial", sa.String(64), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_certificates"),
    )


def downgrade() -> None:
    op.drop_table("certificates")
    op.drop_table("verifications")
    op.drop_index("ix_videos_sha256", "videos")
    op.drop_index("ix_videos_mark", "videos")
    op.drop_column("videos", "mark")
    op.drop_column("videos", "credentials_key")
    for name in reversed(CONSENT):
        op.drop_column("subjects", name)
