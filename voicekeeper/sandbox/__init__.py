"""A stand-in of the APIXO gateway, for tests, demonstrations and first steps without an account.

It is built from the gateway's page alone and shares no rule with the rest of voicekeeper, so
that a rule we misread shows as a disagreement between the two instead of hiding in both.

- `rules`: the page's rules for a request's body.
- `gateway`: the state machine, a pure function of the calls and of ``now``; `records` are its
  tasks, voices and answers.
- `faults`: what goes wrong between a gateway and its client, on demand.
- `app`: all this over HTTP; `server` runs it on a loopback port, and delivers webhooks.
"""

from voicekeeper.sandbox.gateway import Gateway, Stuck
from voicekeeper.sandbox.records import Answer, Books, VoiceBook
from voicekeeper.sandbox.server import SandboxServer, serve

__all__ = ["Answer", "Books", "Gateway", "SandboxServer", "Stuck", "VoiceBook", "serve"]
