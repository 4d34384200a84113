"""The gateway, as seen by voicekeeper: a port, and the HTTP client that fills it.

Nothing in it knows what an answer means for a voice: that is `voicekeeper.core.outcome`'s.
"""

from voicekeeper.gateway.client import GatewayClient, GatewayPort, OnTurn

__all__ = ["GatewayClient", "GatewayPort", "OnTurn"]
