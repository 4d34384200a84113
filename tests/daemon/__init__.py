"""The process: its jobs, signals and reloads."""
