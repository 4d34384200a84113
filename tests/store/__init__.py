"""The registry in its database."""
