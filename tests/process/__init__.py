"""The real process: how it starts, ends and goes on, whatever its host and its network do."""
