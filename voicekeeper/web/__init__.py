"""The daemon's ports: what it shows of the fleet, and the webhooks it takes.

Nothing here changes how voices are kept, and nothing that fails here stops it.
"""

from voicekeeper.web.serving import serving

__all__ = ["serving"]
