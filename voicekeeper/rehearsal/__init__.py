"""The simulation: years of keeping, with faults, in minutes and from one seed.

The keeper, its rules, the store on SQLite and the client are those that ship. Simulated is the
world around them: time, the network, the gateway (the sandbox's state machine), the host with its
clock and disk. The same seed gives the same trace to the last byte. See docs/rehearsal.md.
"""

from voicekeeper.rehearsal.chaos import chaos
from voicekeeper.rehearsal.faults import Plan
from voicekeeper.rehearsal.report import Report
from voicekeeper.rehearsal.simulation import Simulation

__all__ = ["Plan", "Report", "Simulation", "chaos"]
