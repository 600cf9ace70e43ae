"""The key of a subject's report in the object store."""

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subjects", sa.Column("report_key", sa.String()))


def downgrade() -> None:
    op.drop_column("subjects", "report_key")  # not as a batch: SQLite would copy the table, and delete what hangs on it
