"""The daemon's ports: what it shows of the fleet, and the webhooks it takes.

- `serving`: the ports that the settings ask for, and what is served on each.
- `site`: the paths that show the fleet; `page` and `metrics` write what they answer.
- `receiver`: the path that the gateway calls when an enrollment has ended.
- `listener`: one port, which stays up whatever is sent to it.

Nothing here changes how voices are kept, and nothing that fails here stops it.
"""

from voicekeeper.web.serving import serving

__all__ = ["serving"]
