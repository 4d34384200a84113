"""When a voice is due, when to retry, when to poll, and the deadline.

Pure functions of values and ``now``. Instants are aware and in UTC.

=================  ===============================================================
deadline           last use + window
due                last use + interval - jitter
retry              base·2ⁿ ± a quarter, at most min(cap, an eighth of what remains
                   to the deadline), at least min(30 s, base)
lost retry         hourly to the deadline, then daily for one more window
longest call       its turn at the limiter, and the time that it may take
silence            after how long without a pass a keeper counts as dead
repeat of open     when an accepted keepalive that has not ended is repeated
poll               the page's pace, slower as the task grows older
=================  ===============================================================

No due time of these functions is further ahead than now + interval. So one that is further ahead
was set by a wrong clock (see `latest_due`).
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from voicekeeper.core.duration import plus
from voicekeeper.core.enums import Kind, VoiceFacts

_ZERO = timedelta(0)
_RETRY_FLOOR = timedelta(seconds=30)
_SLACK = timedelta(seconds=10)
_LAST_REDELIVERY = timedelta(minutes=13)
"""The last try of a webhook: the gateway calls again after 30 s, 2 min and 10 min, then no more."""
_MANY_POLLS = 10_000
"""A damaged row may count more, and their time would be longer than the calendar."""


@dataclass(frozen=True)
class Policy:
    """The settings that the rules need, as values.

    Attributes:
        window: how long the gateway keeps an unused voice (page: 7 consecutive days).
        interval: how long after its last use a voice is used again.
        jitter: the most by which a voice's interval is shortened, a fixed share for each.
        speech_first, speech_interval: pace of polling a speech task.
        enrollment_first, enrollment_interval: pace of polling a clone or design task.
        give_up: age at which a task that has not ended is polled no more.
        retry_base, retry_cap: the first and the longest wait after a failure.
        timeout: of one call; the whole of it may take twice as long.
        enrollments_per_day: the budget of a UTC day, in millionths of a US dollar; None for none.
        notifies: whether people get messages; then the ends of enrollments are noted for them.
        tick: between two passes.
        keep_history: how long history is kept; None for ever.
    """

    window: timedelta
    interval: timedelta
    jitter: timedelta
    prompt: str
    format: str
    speech_first: timedelta
    speech_interval: timedelta
    enrollment_first: timedelta
    enrollment_interval: timedelta
    give_up: timedelta
    retry_base: timedelta
    retry_cap: timedelta
    timeout: timedelta
    requests_per_second: float
    max_in_flight: int
    enrollments_per_day: int | None = None
    notifies: bool = False
    tick: timedelta = timedelta(seconds=10)
    keep_history: timedelta | None = timedelta(days=365)

    @cached_property
    def longest_call(self) -> timedelta:
        """How long a call may take at most, its turn at the limiter included."""
        turn_s = self.max_in_flight / self.requests_per_second
        turn = timedelta(seconds=min(turn_s, self.interval.total_seconds()))
        return min(self.timeout * 2 + turn + _SLACK, self.interval)

    @cached_property
    def silence(self) -> timedelta:
        """After how long without a pass a keeper counts as dead: its calls are over then."""
        return max(self.longest_call, 3 * self.tick)

    @cached_property
    def longest_poll(self) -> timedelta:
        """How far ahead a poll can be; one that is further was set by a wrong clock."""
        return max(self.give_up, self.retry_cap, self.longest_call)

    @cached_property
    def risk_age(self) -> timedelta:
        """How old a last use puts a voice at risk: two sevenths of the window are left.

        Less where the interval is long: a voice that is kept in time is never at risk.
        """
        left = min(self.window * 2 / 7, (self.window - self.interval) / 2)
        return self.window - left

    @cached_property
    def prunes_every(self) -> timedelta:
        """How often to look for history that is older than is kept: it goes at most a day late."""
        keeps = self.keep_history or timedelta.max
        return max(self.tick, min(keeps / 1000, timedelta(days=1)))


def jitter_share(name: str, turn: int = 0) -> float:
    """Return a voice's share of a jitter at a turn: a stable number in [0, 1)."""
    digest = hashlib.blake2b(f"{turn}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def last_use(sent_at: datetime, created_at: datetime | None) -> datetime:
    """Return when a task that ended in success used its voice.

    The earlier of our send time and the gateway's ``createTime``: never later than the
    gateway's own count, whatever either clock did.
    """
    return sent_at if created_at is None else min(sent_at, created_at)


def deadline(anchor: datetime, policy: Policy) -> datetime:
    """Return when the gateway deletes a voice (page section *Latency and polling*)."""
    return plus(anchor, policy.window)


def known_deadline(voice: VoiceFacts, policy: Policy) -> datetime | None:
    """Return when the gateway deletes a voice; None while its last use is not known."""
    anchor = voice.last_used_at or voice.enrolled_at
    return None if anchor is None else deadline(anchor, policy)


def due(anchor: datetime, name: str, policy: Policy) -> datetime:
    """Return when a voice is to be used again; a fleet imported at once spreads out."""
    return plus(anchor, policy.interval - policy.jitter * jitter_share(name))


def kept_since(now: datetime, last_use: datetime | None, policy: Policy) -> datetime | None:
    """Return since when history is kept; None where nothing may be deleted.

    It counts from the last use of any voice, where that is earlier than ``now``: the gateway's
    time is in it, so a host's clock that is years ahead makes nothing old.
    """
    if policy.keep_history is None or last_use is None:
        return None
    return plus(min(now, last_use), -policy.keep_history)


def assumed_anchor(registered_at: datetime, policy: Policy) -> datetime:
    """Return the anchor of a voice whose last use is not known: as though it were just due."""
    return plus(registered_at, -policy.interval)


def next_keepalive(
    name: str,
    *,
    sent_at: datetime,
    created_at: datetime | None,
    answered_at: datetime | None,
    now: datetime,
    policy: Policy,
) -> datetime:
    """Return the due time after a success, by the host's clock, right or wrong.

    The age of the use counts, and each clock has it in its own frame: the host's as now - sent,
    the gateway's as its ``Date`` - ``createTime``. The older age wins. Mixing frames would be
    wrong: with a host clock that is days ahead, ``createTime`` looks days old, and each success
    would be followed at once by another paid call. Only where the gateway sends no ``Date`` are
    they mixed, and then the next use is no sooner than in an eighth of the interval. An age beyond
    the window is the gateway's mistake unless the host's clock has it too.
    """
    fresh = due(now, name, policy)
    next_at = plus(fresh, -_elapsed(sent_at, now, policy))
    if created_at is not None and answered_at is not None:
        if answered_at - created_at <= policy.window:
            next_at = min(next_at, plus(fresh, -_elapsed(created_at, answered_at, policy)))
    elif created_at is not None:
        soon = plus(now, policy.interval / 8)
        next_at = min(next_at, max(plus(fresh, -_elapsed(created_at, now, policy)), soon))
    return max(now, next_at)


def _elapsed(since: datetime, until: datetime, policy: Policy) -> timedelta:
    """Return the time between; at most the interval, as dates can lie millennia apart."""
    return min(max(until - since, _ZERO), policy.interval)


def retry_at(
    name: str,
    *,
    failures: int,
    anchor: datetime | None,
    now: datetime,
    policy: Policy,
    retry_after: float | None = None,
) -> datetime:
    """Return when to try again; the name spreads the retries of a fleet that failed together.

    Args:
        failures: in a row, at least 1.
        anchor: the deadline counts from it; None where there is no deadline.
        retry_after: seconds the gateway asked for; obeyed up to half of what remains.
    """
    factor = 0.75 + jitter_share(name, failures) / 2  # a quarter sooner or later
    longest = min(policy.retry_cap, policy.interval)
    doubled = 2.0 ** min(failures - 1, 20)  # no further, or it overflows one day
    grown = policy.retry_base.total_seconds() * doubled * factor
    wait = timedelta(seconds=min(grown, longest.total_seconds()))
    remains = deadline(anchor, policy) - now if anchor is not None else _ZERO
    if remains > _ZERO:
        wait = min(wait, remains / 8)
    if retry_after is not None:
        asked = timedelta(seconds=retry_after)
        wait = max(wait, min(asked, remains / 2) if remains > _ZERO else asked)
    wait = max(wait, min(_RETRY_FLOOR, policy.retry_base))
    return plus(now, min(wait, policy.interval))


def latest_use(now: datetime, policy: Policy) -> datetime:
    """Return the latest time of a pass or a use that no wrong clock need have noted.

    An hour ahead, of a window of seven days: less puts nothing off that matters.
    """
    return plus(now, policy.window / 168)


def is_set_back(last_pass_at: datetime | None, *, now: datetime, policy: Policy) -> bool:
    """Return whether the clock was set back since the last pass: no due time is trusted then."""
    return last_pass_at is not None and last_pass_at > latest_use(now, policy)


def lost_retries_end(anchor: datetime, policy: Policy) -> datetime:
    """Return until when a LOST voice is tried: a window past its deadline.

    A call whose answer was lost may have been a use.
    """
    return plus(anchor, policy.window * 2)


def next_lost_retry(anchor: datetime, *, now: datetime, policy: Policy) -> datetime:
    """Return when a LOST voice is tried again: hourly to its deadline, then daily."""
    over = now >= deadline(anchor, policy)
    wait = max(policy.window / 7, policy.retry_cap) if over else policy.retry_cap
    return plus(now, min(wait, policy.interval))


def repeat_open_at(*, sent_at: datetime, anchor: datetime, policy: Policy) -> datetime:
    """Return when an accepted keepalive that has not ended is repeated.

    After an eighth of what remained, as with retries, but time enough for a few polls. Past the
    deadline nothing is left to hurry for.
    """
    longest = min(policy.give_up, policy.interval)
    remained = deadline(anchor, policy) - sent_at
    if remained <= _ZERO:
        return plus(sent_at, longest)
    polls = policy.speech_first + 3 * policy.speech_interval
    return plus(sent_at, min(max(polls, remained / 8), longest))


def age(kind: Kind, *, sent_at: datetime, polls: int, now: datetime, policy: Policy) -> timedelta:
    """Return how old a task is at least: as old as its polls, if the clock was set back since."""
    return max(now - sent_at, _poll_interval(kind, policy) * min(polls, _MANY_POLLS))


def first_poll(kind: Kind, policy: Policy, *, called: bool = False) -> timedelta:
    """Return how long after submission a task is first polled (page: *Latency and polling*).

    One that is ``called``, by a webhook, is polled after the last redelivery of that, and in time
    for a second poll.
    """
    first = policy.enrollment_first if kind.is_enrollment else policy.speech_first
    if not called:
        return first
    return max(first, min(first + _LAST_REDELIVERY, policy.give_up / 2))


def next_poll(kind: Kind, *, sent_at: datetime, now: datetime, policy: Policy) -> datetime:
    """Return when to poll a task again: after the setting's interval, or a quarter of its age."""
    interval = _poll_interval(kind, policy)
    wait = min(max(interval, (now - sent_at) / 4), max(interval, policy.retry_cap))
    return plus(now, wait)


def _poll_interval(kind: Kind, policy: Policy) -> timedelta:
    return policy.enrollment_interval if kind.is_enrollment else policy.speech_interval


def latest_due(now: datetime, policy: Policy) -> datetime:
    """Return the latest due time that these rules set; a later one is a wrong clock's."""
    return plus(now, policy.interval)
