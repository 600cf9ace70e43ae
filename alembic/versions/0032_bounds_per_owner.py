"""Indexes of the oldest stored responses of an owner, and of those with more than 16,384 characters."""

import sqlalchemy as sa

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_answers_owner_created_at", "answers", ["owner", "created_at"])
    _count_larger_than(16_384)


def downgrade() -> None:
    _count_larger_than(65_536)
    op.drop_index("ix_answers_owner_created_at", "answers")


def _count_larger_than(characters: int) -> None:
    large = sa.text(f"length(body) > {characters}")
    op.drop_index("ix_answers_large", "answers")
    op.create_index("ix_answers_large", "answers", ["owner"], sqlite_where=large, postgresql_where=large)
