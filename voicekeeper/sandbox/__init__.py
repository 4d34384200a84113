"""A stand-in of the APIXO gateway, for tests, demonstrations and first steps without an account.

It is built from the gateway's page alone and shares no rule with the rest of voicekeeper, so
that a rule we misread shows as a disagreement between the two instead of hiding in both.

- `rules`: what the page demands of a request's body.
- `gateway`: the state machine, a pure function of the calls and of ``now``; `records` is what
  it keeps and tells.
- `faults`: what goes wrong between a gateway and its client, on demand.
- `server`: all this on a loopback port, over real HTTP; `running` is the thread it runs in,
  `breakage` the answers that break, and `messenger` delivers webhooks.
"""

from voicekeeper.sandbox.gateway import Gateway, Stuck
from voicekeeper.sandbox.records import Answer, Books, VoiceBook
from voicekeeper.sandbox.server import SandboxServer, serve

__all__ = ["Answer", "Books", "Gateway", "SandboxServer", "Stuck", "VoiceBook", "serve"]
