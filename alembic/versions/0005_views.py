"""The view limits of a subject, and the view of a video."""

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

DOCUMENT = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.add_column("subjects", sa.Column("view_limits", DOCUMENT))
    op.add_column("videos", sa.Column("view", DOCUMENT))


def downgrade() -> None:
    op.drop_column("videos", "view")
    op.drop_column("subjects", "view_limits")
