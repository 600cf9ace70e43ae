"""Indexes of the oldest stored responses of an owner, and of those with more than 16,384 characters."""

import sqlalchemy as sa

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

CONCURRENT_INDEXES = {
    "ix_answers_owner_created_at": "answers (owner, created_at)",
    "ix_answers_large_new": "answers (owner) WHERE length(body) > 16384",
}
"""What PostgreSQL builds before the migration, while others go on to write (storage/database/migrations.py)."""


def upgrade() -> None:
    op.create_index("ix_answers_owner_created_at", "answers", ["owner", "created_at"], if_not_exists=True)
    _count_larger_than(16_384)


def downgrade() -> None:
    _count_larger_than(65_536)
    op.drop_index("ix_answers_owner_created_at", "answers")


def _count_larger_than(characters: int) -> None:
    large = sa.text(f"length(body) > {characters}")
    op.drop_index("ix_answers_large", "answers")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX IF EXISTS ix_answers_large_new RENAME TO ix_answers_large")
    where = {"sqlite_where": large, "postgresql_where": large}
    op.create_index("ix_answers_large", "answers", ["owner"], **where, if_not_exists=True)
