"""The process that runs for years."""
