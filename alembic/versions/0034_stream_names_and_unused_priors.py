"""The names of the folders of streams, which are not used again after a backup was restored, and since when a prior of lips is unused."""

import sqlalchemy as sa

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("videos", sa.Column("stream_name", sa.String(40)))
    op.add_column("lip_priors", sa.Column("unused_since", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("lip_priors", "unused_since")
    op.drop_column("videos", "stream_name")
