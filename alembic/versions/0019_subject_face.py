"""Which face of the footage becomes the subject, if the client chose one."""

import sqlalchemy as sa

from alembic import op

revision = "0019"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subjects", sa.Column("face", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    op.drop_column("subjects", "face")
