"""The clip in which a person speaks the consent."""

import sqlalchemy as sa

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subjects", sa.Column("consent_clip_key", sa.String))
    op.add_column("subjects", sa.Column("consent_clip_sha256", sa.String(64)))


def downgrade() -> None:
    op.drop_column("subjects", "consent_clip_sha256")
    op.drop_column("subjects", "consent_clip_key")
