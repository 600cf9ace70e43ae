"""A contact sheet of views of a subject, and its layout."""

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subjects", sa.Column("views", sa.JSON(none_as_null=True)))
    op.add_column("subjects", sa.Column("views_key", sa.String()))


def downgrade() -> None:
    op.drop_column("subjects", "views_key")
    op.drop_column("subjects", "views")
