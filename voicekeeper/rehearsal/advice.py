"""Which interval would have left room for what went wrong. Pure: values in, an answer out."""

from datetime import timedelta

from voicekeeper.rehearsal.troubles import HARD, Plan
from voicekeeper.schedule import Policy

_HOUR = timedelta(hours=1)
_STEPS = (timedelta(hours=12), _HOUR)
_REQUESTS = 3
"""A keepalive and its polls, rounded up."""


def longest(plan: Plan, policy: Policy) -> timedelta:
    """Return the longest stretch without a while in which a voice could have been saved."""
    pause = policy.window / 84  # two hours of seven days
    found, begun, ended = timedelta(0), timedelta(0), timedelta(0)
    for spell in sorted((s for s in plan.spells if s.kind in HARD), key=lambda s: s.start):
        if spell.start - ended >= pause:
            begun = spell.start
        ended = max(ended, spell.end)
        found = max(found, ended - begun)
    return found


def interval(plan: Plan, policy: Policy, *, voices: int) -> timedelta | None:
    """Return a shorter interval that has room for the longest stretch; None if none helps.

    A voice whose turn comes as the stretch begins has to last to its end, and until all that
    wait have had theirs.
    """
    requests = timedelta(seconds=_REQUESTS * voices / policy.requests_per_second)
    room = policy.window - longest(plan, policy) - requests - 2 * _HOUR
    step = next((step for step in _STEPS if room >= step), None)
    if step is None:
        return None
    fitting = room // step * step
    return fitting if fitting < policy.interval else None
