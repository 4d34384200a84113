"""The process that runs for years: its jobs, one pass of the keeper, messages, reloads."""
