"""Alembic's entry: migrate over the connection, and in the transaction, that we are given."""

from alembic import context
from sqlmodel import SQLModel

from voicekeeper.core import models  # noqa: F401 - fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
