"""The claim of the delivery that a webhook gets at the moment, so that leases compare no clocks."""

import sqlalchemy as sa

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("sending", sa.String(60)))
    op.create_index("ix_webhooks_sending", "webhooks", ["sending"])


def downgrade() -> None:
    op.drop_index("ix_webhooks_sending", "webhooks")
    op.drop_column("webhooks", "sending")
