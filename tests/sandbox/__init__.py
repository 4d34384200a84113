"""The stand-in of the gateway."""
