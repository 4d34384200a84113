"""The window that due times were reckoned by, beside the interval."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add a column to the keepers' rows; 0 says that nobody noted it."""
    op.add_column(
        "keeper", sa.Column("window_s", sa.Float, nullable=False, server_default=sa.text("0"))
    )
