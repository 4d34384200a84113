"""Messages and the heartbeat."""
