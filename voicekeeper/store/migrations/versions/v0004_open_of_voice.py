"""The open tasks of a voice, which a claim looks for, without a look at all it ever had."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_OPEN = sa.text("state IN ('intent', 'running')")


def upgrade() -> None:
    """Add an index of what is open by voice, beside that by state."""
    op.create_index(
        "task_open_of_voice", "task", ["voice_pk"], sqlite_where=_OPEN, postgresql_where=_OPEN
    )
