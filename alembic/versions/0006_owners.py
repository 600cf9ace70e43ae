"""The owner of each subject, video and job, with indexes for lists by owner."""

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = ("subjects", "videos", "jobs")
REPLACED = (("subjects", "state"), ("videos", "state"), ("jobs", "state"), ("jobs", "kind"))


def upgrade() -> None:
    for table in TABLES:  # the default is for the rows that are there: SQLite can neither do without it nor drop it
        op.add_column(table, sa.Column("owner", sa.String(64), nullable=False, server_default="local"))
        op.create_index(f"ix_{table}_owner_id", table, ["owner", "id"])
    for table, column in REPLACED:
        op.create_index(f"ix_{table}_owner_{column}_id", table, ["owner", column, "id"])
        op.drop_index(f"ix_{table}_{column}_id", table)


def downgrade() -> None:
    for table, column in REPLACED:
        op.create_index(f"ix_{table}_{column}_id", table, [column, "id"])
        op.drop_index(f"ix_{table}_owner_{column}_id", table)
    for table in TABLES:
        op.drop_index(f"ix_{table}_owner_id", table)
        op.drop_column(table, "owner")
