"""Many machines: wake-ups, workers, and listings by index."""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
LISTINGS = (
    ("jobs", "state"),
    ("jobs", "kind"),
    ("jobs", "subject_id"),
    ("subjects", "state"),
    ("videos", "state"),
    ("videos", "subject_id"),
)
REPLACED = ("jobs", "videos")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("wake_at", TIME))
    op.execute("UPDATE jobs SET wake_at = queued_at WHERE state = 'queued'")
    op.create_index("ix_jobs_wake_at", "jobs", ["wake_at"])
    op.create_index("ix_jobs_state_kind_queued_at_id", "jobs", ["state", "kind", "queued_at", "id"])
    op.create_index("ix_jobs_subject_id_kind_id", "jobs", ["subject_id", "kind", "id"])
    for table, column in LISTINGS:
        op.create_index(f"ix_{table}_{column}_id", table, [column, "id"])
    for table in REPLACED:  # by the same with the id
        op.drop_index(f"ix_{table}_subject_id", table)
    op.create_table(
        "workers",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("device", sa.JSON(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("heartbeat_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
    )


def downgrade() -> None:
    op.drop_table("workers")
    for table in REPLACED:
        op.create_index(f"ix_{table}_subject_id", table, ["subject_id"])
    for table, column in LISTINGS:
        op.drop_index(f"ix_{table}_{column}_id", table)
    op.drop_index("ix_jobs_subject_id_kind_id", "jobs")
    op.drop_index("ix_jobs_state_kind_queued_at_id", "jobs")
    op.drop_index("ix_jobs_wake_at", "jobs")
    op.drop_column("jobs", "wake_at")
