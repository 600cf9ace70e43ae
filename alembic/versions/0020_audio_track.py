"""The sound track of a subject's footage that the client chose."""

import sqlalchemy as sa

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subjects", sa.Column("audio_track", sa.Integer()))


def downgrade() -> None:
    op.drop_column("subjects", "audio_track")
