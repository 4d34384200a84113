"""Messages to people, by apprise, and the heartbeat of a dead man's switch.

The addresses hold secrets (tokens, passwords, unguessable paths). None of them stands in a log
line, an error or a ``repr``; people read ``alerts.urls[0] (slack)``.
"""

from voicekeeper.notify.heartbeat import Heartbeat, ping, reach
from voicekeeper.notify.sender import Sender, lacking, senders

__all__ = ["Heartbeat", "Sender", "lacking", "ping", "reach", "senders"]
