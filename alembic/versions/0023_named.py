"""What a delivery names, so that a deletion finds it; indexes over the bytes of an owner; the attempts of a verification."""

import json

import sqlalchemy as sa

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

BATCH = 1000
"""Deliveries that are read at a time: some hundred kilobytes."""
DELIVERIES = sa.table("deliveries", *(sa.column(name) for name in ("id", "body", "subject_id", "video_id")))
NAMED = ("subject_id", "video_id")
BYTES = {
    "subjects": ["owner", "stored_bytes"],
    "videos": ["owner", "stored_bytes"],
    "uploads": ["owner", "used_by", "received"],
}


def upgrade() -> None:
    for name in NAMED:
        op.add_column("deliveries", sa.Column(name, sa.String(40)))
        op.create_index(f"ix_deliveries_{name}", "deliveries", [name])
    for table, columns in BYTES.items():
        op.create_index("_".join(("ix", table, *columns)), table, columns)
    op.add_column("verifications", sa.Column("max_attempts", sa.Integer(), nullable=False, server_default="3"))
    connection, row_id = op.get_bind(), DELIVERIES.c.id
    query = sa.select(row_id, DELIVERIES.c.body).order_by(row_id).limit(BATCH)
    fill = DELIVERIES.update().where(row_id == sa.bindparam("row"))
    fill = fill.values(subject_id=sa.bindparam("subject"), video_id=sa.bindparam("video"))
    page = connection.execute(query).all()
    while page:
        rows = [{"row": each, **_named(json.loads(body)["data"])} for each, body in page]
        connection.execute(fill, rows)
        page = connection.execute(query.where(row_id > page[-1][0])).all()


def _named(data):
    own = data.get("id") or ""
    return {
        "subject": data.get("subject_id") or (own if own.startswith("sub_") else None),
        "video": data.get("video_id") or (own if own.startswith("vid_") else None),
    }


def downgrade() -> None:
    op.drop_column("verifications", "max_attempts")
    for table, columns in BYTES.items():
        op.drop_index("_".join(("ix", table, *columns)), table)
    for name in NAMED:
        op.drop_index(f"ix_deliveries_{name}", "deliveries")
        op.drop_column("deliveries", name)
