"""The simulation: clock, faults, network, host; and its invariants, each of which can fail."""
