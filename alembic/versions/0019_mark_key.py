"""The fingerprint of the watermark's key, so that a worker with another key is noticed."""

import sqlalchemy as sa

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("identity", sa.Column("mark_key_sha256", sa.String(64)))


def downgrade() -> None:
    op.drop_column("identity", "mark_key_sha256")
