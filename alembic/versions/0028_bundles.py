"""Where an imported subject comes from."""

import sqlalchemy as sa

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subjects", sa.Column("imported_from", sa.JSON))


def downgrade() -> None:
    op.drop_column("subjects", "imported_from")
