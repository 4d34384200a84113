"""The schema's history, run by Alembic at the daemon's start."""
