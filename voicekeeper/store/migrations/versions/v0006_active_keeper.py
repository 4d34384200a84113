"""One active keeper, fenced by an epoch, and those that stand by; no audio of voices."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_INSTANT = sa.DateTime(timezone=True)
_WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")

_NEWEST = "(SELECT {} FROM keeper ORDER BY last_pass_at DESC NULLS LAST LIMIT 1)"
_AGREED = "(SELECT CASE WHEN min({0}) = max({0}) THEN max({0}) END FROM keeper)"


def upgrade() -> None:
    """Make the row of what the keeper with the newest pass left; drop what is kept no more."""
    op.drop_table("audio")
    op.drop_column("voice", "restored_at")
    op.create_table(
        "standby",
        sa.Column("keeper", sa.String, primary_key=True),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("since", _INSTANT, nullable=False),
        sa.Column("seen_at", _INSTANT, nullable=False),
    )
    op.create_table(
        "active",
        sa.Column("id", _WHOLE, primary_key=True),
        sa.Column("epoch", _WHOLE, nullable=False),
        sa.Column("keeper", sa.String),
        sa.Column("version", sa.String),
        sa.Column("once", sa.Boolean, nullable=False),
        sa.Column("started_at", _INSTANT),
        sa.Column("last_pass_at", _INSTANT),
        sa.Column("beat", _INSTANT),
        sa.Column("interval_s", sa.Float, nullable=False),
        sa.Column("window_s", sa.Float, nullable=False),
        sa.Column("server", sa.String),
        sa.CheckConstraint("id = 1", name="active_is_one"),
    )
    kept = ("keeper", "version", "started_at", "last_pass_at")
    values = ", ".join(_NEWEST.format(column) for column in kept)
    # Where several keepers went by different settings, nobody knows which due time is by which.
    settings = ("interval_s", "window_s")
    known = ", ".join(f"coalesce({_AGREED.format(column)}, 0)" for column in settings)
    op.execute(
        f"INSERT INTO active (id, epoch, once, {', '.join(kept + settings)})"
        f" SELECT 1, 0, coalesce({_NEWEST.format('once')}, FALSE), {values}, {known}"
    )
    op.drop_table("keeper")
