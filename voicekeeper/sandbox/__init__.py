"""A stand-in of the APIXO gateway, for tests, demonstrations and first steps without an account.

It is built from the gateway's page alone and shares no rule with the rest of voicekeeper, so
that a rule we misread shows as a disagreement between the two instead of hiding in both.
"""

from voicekeeper.sandbox.gateway import Gateway, Stuck
from voicekeeper.sandbox.records import Answer, Books, VoiceBook
from voicekeeper.sandbox.server import SandboxServer, serve

__all__ = ["Answer", "Books", "Gateway", "SandboxServer", "Stuck", "VoiceBook", "serve"]
