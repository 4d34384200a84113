"""Years of keeping, with all that goes wrong in them, in minutes and from one seed.

The keeper, its rules, the store on SQLite and the client are those that ship. What is played is
the world around them: time, the way to the gateway, the gateway's state machine (the sandbox's),
the host with two clocks, and its disk. Nothing sleeps, no socket is opened, and the same seed
tells the same story to the last byte.

- `loop`: an event loop in which waiting takes no time; `clocks`: the host's, and the truth.
- `troubles`: what can go wrong; `chaos`: all of it, from a seed; `weather`: what is wrong now.
- `network`: the way to the gateway, where single calls fail.
- `host`: the machine, on which a process keeps voices, and dies.
- `judge`: who holds what happened against what is promised, from the gateway's books.
- `play`: the order of it all; `report`: what came of it.
"""

from voicekeeper.rehearsal.chaos import chaos
from voicekeeper.rehearsal.play import Rehearsal
from voicekeeper.rehearsal.report import Report
from voicekeeper.rehearsal.troubles import Plan

__all__ = ["Plan", "Rehearsal", "Report", "chaos"]
