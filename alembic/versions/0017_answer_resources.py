"""The resources that stored responses name, so that a deletion finds them by an index instead of searching all bodies."""

import json

import sqlalchemy as sa

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

BATCH = 1000
"""Responses that are read at a time: some megabytes."""
ERASED = ("sub_", "upl_", "vid_")
"""Beginnings of the ids whose deletion erases responses."""
KEY = sa.column("owner"), sa.column("route"), sa.column("key")


def upgrade() -> None:
    table = op.create_table(
        "answer_resources",
        sa.Column("resource_id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("resource_id", "owner", "route", "key", name="pk_answer_resources"),
        sa.ForeignKeyConstraint(
            ["owner", "route", "key"],
            ["answers.owner", "answers.route", "answers.key"],
            name="fk_answer_resources_owner",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_answer_resources_owner_route_key", "answer_resources", ["owner", "route", "key"])
    connection = op.get_bind()
    body = sa.column("body")
    query = sa.select(*KEY, body).select_from(sa.table("answers")).where(body.is_not(None)).order_by(*KEY).limit(BATCH)
    page = connection.execute(query).all()
    while page:
        rows = [
            {"owner": owner, "route": route, "key": key, "resource_id": resource_id}
            for owner, route, key, content in page
            for resource_id in sorted(set(_named(_parse(content))))
        ]
        if rows:
            connection.execute(table.insert(), rows)
        page = connection.execute(query.where(sa.tuple_(*KEY) > sa.tuple_(*page[-1][:3]))).all()


def _parse(content):
    try:
        return json.loads(content)
    except ValueError:
        return None


def _named(value):
    if isinstance(value, list):
        for each in value:
            yield from _named(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, str) and (name == "id" or name.endswith("_id")) and each.startswith(ERASED):
                yield each
            else:
                yield from _named(each)


def downgrade() -> None:
    op.drop_table("answer_resources")
