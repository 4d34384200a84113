"""The simulation: years of keeping, with faults, in minutes and from one seed.

The keeper, its rules, the store on SQLite and the client are those that ship. Simulated is the
world around them: time, the network, the gateway (the sandbox's state machine), the host with its
clock and disk. Nothing sleeps, no socket is opened, and the same seed gives the same trace to the
last byte.

- `clock`: the virtual clock, in which waiting takes no time; the host's wrong one, and the truth.
- `faults`: what goes wrong, and when; `chaos`: a plan of every fault, from a seed.
- `network`: between the client and the gateway, where single calls fail.
- `host`: the machine, on which a process keeps voices, and dies.
- `invariants`: what must hold, checked against the gateway's books.
- `simulation`: one run of it all; `report`: its result; `campaign`: many seeds.
"""

from voicekeeper.rehearsal.chaos import chaos
from voicekeeper.rehearsal.faults import Plan
from voicekeeper.rehearsal.report import Report
from voicekeeper.rehearsal.simulation import Simulation

__all__ = ["Plan", "Report", "Simulation", "chaos"]
