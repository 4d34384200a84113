"""The open tasks of a voice, which a claim looks for, without a look at all it ever had."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_OPEN = sa.text("state IN ('intent', 'running')")


def upgrade() -> None:
    """Make the index of what is open one of voices, not of two words."""
    op.drop_index("task_open", table_name="task")
    op.create_index("task_open", "task", ["voice_pk"], sqlite_where=_OPEN, postgresql_where=_OPEN)
