"""Indexes of the latest jobs of a kind that have succeeded, from which durations are estimated, and of an owner's links."""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

CONCURRENT_INDEXES = {
    "ix_jobs_kind_state_id": "jobs (kind, state, id)",
    "ix_shares_owner_expires_at": "shares (owner, expires_at)",
}
"""What PostgreSQL builds before the migration, while others go on to write (storage/database/migrations.py)."""


def upgrade() -> None:
    op.create_index("ix_jobs_kind_state_id", "jobs", ["kind", "state", "id"], if_not_exists=True)
    op.create_index("ix_shares_owner_expires_at", "shares", ["owner", "expires_at"], if_not_exists=True)


def downgrade() -> None:
    op.drop_index("ix_shares_owner_expires_at", "shares")
    op.drop_index("ix_jobs_kind_state_id", "jobs")
