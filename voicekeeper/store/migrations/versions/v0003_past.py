"""What the calls of a voice cost whose rows were pruned."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    """Make a table of its own: a voice's row is read at each pass, this one by `show` alone."""
    op.create_table(
        "past",
        sa.Column(
            "voice_pk",
            _WHOLE,
            sa.ForeignKey("voice.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("cost_micros", _WHOLE, nullable=False),
        sa.Column("possible_cost_micros", _WHOLE, nullable=False),
        sa.CheckConstraint("cost_micros >= 0 AND possible_cost_micros >= 0", name="past_signs"),
    )
