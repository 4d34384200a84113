"""What the daemon shows and hears on its ports, in its own loop.

- `site`: the pages of a person and of a machine: health, metrics.
- `page`: what a person sees, a pure function of what the registry knows; `style` is its looks.
- `metrics`: what Prometheus is told, a pure function of what the registry knows.
- `guard`: by which names that is served.
- `receiver`: what the gateway calls when an enrollment has ended.
- `listener`: the port itself, which stays up whatever is sent to it; `protocol` is one
  connection to it.
- `serving`: which of these the settings ask for.

Nothing here changes how voices are kept, and nothing that fails here stops it.
"""

from voicekeeper.web.serving import serving

__all__ = ["serving"]
