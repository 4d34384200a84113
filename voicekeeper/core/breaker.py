"""The circuit breaker of a model: it pauses the calls, and a probe closes it again.

One account fault (401, 402, 403) opens it; of other faults that name no voice (429, 5xx, no
answer, an unknown code) a run does. A refused enrollment never does. While it is open no call is
made but one probe at a time: a control call. One that is accepted, and not ended in failure, closes
it. Faults that the breaker saw make no voice suspected.

With the key of another account the gateway accepts calls and knows none of our voices; only a call
with another of them shows that. So where control calls with voices that should live all fail by
those voices, the breaker opens too, and only a voice of ours closes it.
"""

from datetime import datetime, timedelta
from typing import TypedDict

from voicekeeper.core import schedule
from voicekeeper.core.duration import plus
from voicekeeper.core.models import Breaker
from voicekeeper.core.outcome import Culprit, Fault
from voicekeeper.core.schedule import Policy

TRIP_AFTER = 5
"""Failures in a row, of different voices, that the gateway as a whole has caused."""

DISTRUST_AFTER = 3
"""Control calls in a row that failed by their own voices, before the account is the culprit."""

UNKNOWN_HERE = (
    "the gateway knows none of our voices that should be alive; see that the API key is of the "
    "account that made them"
)


class BreakerFields(TypedDict, total=False):
    """New values for columns of a breaker."""

    run: int
    last_voice_pk: int | None
    opened_at: datetime | None
    cause: str | None
    probes: int
    probe_at: datetime | None
    judged_at: datetime | None
    distrusted: bool


def after_fault(
    breaker: Breaker,
    fault: Fault,
    *,
    voice_pk: int | None,
    others_accepted: bool,
    anchor: datetime | None,
    now: datetime,
    policy: Policy,
) -> BreakerFields:
    """Count a fault; open the breaker when it is one too many.

    A voice that fails again and again counts once in turn: its trouble may be its own. Refusals
    between calls that are accepted are no run, even before any of the accepted tasks has ended.

    Args:
        fault: of a call that was no control call.
        others_accepted: whether the call was refused while others were accepted.
        anchor: the most urgent waiting deadline counts from it; bounds the first probe.
    """
    if breaker.opened_at is not None or fault.culprit in (Culprit.VOICE, Culprit.REQUEST):
        return {}
    run = breaker.run + (1 if breaker.run == 0 or breaker.last_voice_pk != voice_pk else 0)
    if others_accepted:
        run = min(run, TRIP_AFTER - 1)
    fields: BreakerFields = {"run": run, "last_voice_pk": voice_pk}
    if fault.culprit is Culprit.ACCOUNT or run >= TRIP_AFTER:
        fields |= _opened(breaker, fault, anchor=anchor, now=now, policy=policy)
    return fields


def after_control_fault(
    breaker: Breaker,
    fault: Fault,
    *,
    is_ours: bool,
    anchor: datetime | None,
    now: datetime,
    policy: Policy,
) -> BreakerFields:
    """Judge a control call that failed.

    A fault of the voice that it spoke with says nothing of the route: that voice may be gone, even
    a built-in one. The next control call speaks with another, until there were too many voices
    that are ours.
    """
    probe: BreakerFields = {
        "probes": breaker.probes + 1,
        "probe_at": _probe_at(breaker, fault, anchor=anchor, now=now, policy=policy),
        "judged_at": now,
    }
    if breaker.opened_at is not None:
        return probe
    if fault.culprit is Culprit.VOICE:
        if not is_ours or breaker.probes + 1 < DISTRUST_AFTER:
            return probe
        opened = _opened(breaker, fault, anchor=anchor, now=now, policy=policy)
        return opened | {"cause": UNKNOWN_HERE, "distrusted": True}
    if fault.culprit is not Culprit.ACCOUNT and breaker.run + 1 < TRIP_AFTER:
        return probe | {"run": breaker.run + 1, "last_voice_pk": None}
    return probe | _opened(breaker, fault, anchor=anchor, now=now, policy=policy)


def after_control_success(breaker: Breaker, *, is_ours: bool, sent_at: datetime) -> BreakerFields:
    """Close the breaker, unless it opened after the control call was sent.

    One that is distrusted is closed only by a voice of ours that spoke to its end.
    """
    if breaker.opened_at is not None and sent_at < breaker.opened_at:
        return {"probes": 0}
    if breaker.distrusted and not is_ours:
        return {}
    return {
        "run": 0,
        "last_voice_pk": None,
        "opened_at": None,
        "cause": None,
        "probes": 0,
        "probe_at": None,
        "judged_at": None,
        "distrusted": False,
    }


def probing(breaker: Breaker, *, now: datetime, policy: Policy) -> BreakerFields:
    """Return the columns of a breaker whose control call has begun: the next one waits for it."""
    return {"probe_at": control_ends(breaker, now=now, policy=policy), "judged_at": now}


def control_ends(breaker: Breaker, *, now: datetime, policy: Policy) -> datetime:
    """Return when a control call just begun is no longer waited for.

    Longer each time, up to the age at which any task is given up: where tasks are slow, each
    control call that is given up too soon is paid for in vain.
    """
    polls = max(policy.speech_first + 4 * policy.speech_interval, timedelta(seconds=1))
    longest = max(polls, policy.give_up)
    wait = min(polls * 2.0 ** min(breaker.probes, 10), longest)
    return plus(now, min(policy.timeout + wait, policy.interval))


def _opened(
    breaker: Breaker, fault: Fault, *, anchor: datetime | None, now: datetime, policy: Policy
) -> BreakerFields:
    return {
        "opened_at": now,
        "cause": fault.message,
        "probes": 0,
        "probe_at": _probe_at(breaker, fault, anchor=anchor, now=now, policy=policy),
        "judged_at": now,
    }


def _probe_at(
    breaker: Breaker, fault: Fault, *, anchor: datetime | None, now: datetime, policy: Policy
) -> datetime:
    return schedule.retry_at(
        breaker.model,
        failures=breaker.probes + 1,
        anchor=anchor,
        now=now,
        policy=policy,
        retry_after=fault.retry_after,
    )
