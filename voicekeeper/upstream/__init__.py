"""The gateway, as seen by voicekeeper: a port, and the HTTP client that fills it.

Nothing below this package knows of HTTP, and nothing in it knows what an answer means for a
voice: that is `voicekeeper.verdict`'s.
"""

from voicekeeper.upstream.client import GatewayClient
from voicekeeper.upstream.port import OnTurn, Upstream

__all__ = ["GatewayClient", "OnTurn", "Upstream"]
