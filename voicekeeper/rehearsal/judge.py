"""Who says whether the promise was kept: from the gateway's books and from what went over the way.

The registry is never asked what is true. The judge knows what the gateway did, which answers
came back whole, and when the host's clocks and processes were touched, and holds against it:

- no voice is lost that could have been saved;
- no voice is used again within its interval when its last use was known; each lost or late
  answer excuses one use;
- no voice is called when past saving before one that can be saved;
- no voice waits longer than its interval and six hours, where nothing hard is the matter;
- no enrollment is accepted twice without a person's word;
- under an account's fault few calls are made, and no voice is called lost;
- LOST and UNDEPLOYED only with the gateway's evidence that names the voice; legal steps only;
- what was acknowledged to a person is there at the end, nothing is overdue, no task hangs.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from voicekeeper.events import Event
from voicekeeper.models import Status
from voicekeeper.rehearsal import troubles
from voicekeeper.rehearsal.clocks import HostClock
from voicekeeper.rehearsal.network import Call
from voicekeeper.rehearsal.weather import Weather
from voicekeeper.sandbox import Answer, Gateway, VoiceBook
from voicekeeper.schedule import Policy

_SLACK = timedelta(minutes=2)
_HEALED_WITHIN = timedelta(hours=6)
_DEATHS_SURVIVED = 3
"""Deaths in six hours that are no excuse for being late."""

_CONTROLS = (Event.CONTROL_SUBMITTED, Event.CONTROL_SUCCEEDED, Event.CONTROL_FAILED)

LEGAL: Final = frozenset(
    {
        (Status.NEW, Status.DEPLOYING),
        (Status.NEW, Status.OK),
        (Status.NEW, Status.FAILED),
        (Status.NEW, Status.UNKNOWN),
        (Status.NEW, Status.UNDEPLOYED),
        (Status.NEW, Status.LOST),
        (Status.DEPLOYING, Status.OK),
        (Status.DEPLOYING, Status.UNDEPLOYED),
        (Status.DEPLOYING, Status.FAILED),
        (Status.DEPLOYING, Status.UNKNOWN),
        (Status.DEPLOYING, Status.LOST),
        (Status.OK, Status.LOST),
        (Status.OK, Status.UNDEPLOYED),
        (Status.LOST, Status.OK),
        (Status.LOST, Status.UNDEPLOYED),
        (Status.UNDEPLOYED, Status.OK),
        (Status.FAILED, Status.NEW),
        (Status.UNKNOWN, Status.NEW),
        (Status.UNDEPLOYED, Status.NEW),
        (Status.LOST, Status.NEW),
    }
)
"""The steps of a status; back to NEW by a person's `retry` only."""


@dataclass(slots=True)
class _Known:
    """What the host was told of a voice.

    Attributes:
        since: when its id came to the host.
        used_at: the latest use whose success came back whole.
        told_at: when that came back.
        blamed: answers that named the voice since, and were not an account's fault.
    """

    since: datetime
    used_at: datetime | None = None
    told_at: datetime | None = None
    blamed: int = 0


@dataclass(slots=True)
class _Task:
    """An accepted task.

    Attributes:
        at: when it was accepted.
        used_at: the same, where it used a voice.
        at_fault: whether the key was another account's then.
        too_early: the sentence that it came too early, unless it turns out to be a control call.
    """

    kind: str
    subject: str
    at: datetime
    used_at: datetime | None
    at_fault: bool
    too_early: str | None


@dataclass(slots=True)
class _Ledger:
    """Counts for the report."""

    keepalives: int = 0
    polls: int = 0
    smallest_margin: timedelta | None = None


@dataclass(slots=True)
class Backlog:
    """The voices that were overdue when a hard spell ended.

    Attributes:
        cause: the kind of the spell.
        ended_at: when it ended.
        waiting: their ids.
        voices: how many there were.
        drained_after: until the last was used or gone; None while some wait.
    """

    cause: str
    ended_at: datetime
    waiting: set[str]
    voices: int = 0
    drained_after: timedelta | None = None


class Judge:
    """Looks on, and judges at the end.

    Args:
        gateway: whose books count.
        clock: for the truth.
        weather: what was wrong when.
        policy: the settings.

    Attributes:
        broken: each break of the promise, as a sentence.
    """

    def __init__(
        self, gateway: Gateway, *, clock: HostClock, weather: Weather, policy: Policy
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._weather = weather
        self._policy = policy
        self._least_gap = policy.interval - policy.jitter - _SLACK
        self._known: dict[str, _Known] = {}
        self._tasks: dict[str, _Task] = {}
        self._enrolled: Counter[str] = Counter()
        self._allowed: Counter[str] = Counter()
        self._touched: list[datetime] = []
        self._killed: list[datetime] = []
        self._posts: Counter[tuple[str, timedelta]] = Counter()
        self._starts = 0
        self._before: datetime | None = None
        self._early: list[_Task] = []
        self._overdue: set[str] = set()
        self._blocked = False
        self._starts_at: dict[tuple[str, timedelta], int] = {}
        self.acknowledged: set[str] = set()
        self.abandoned: set[str] = set()
        self.backlogs: list[Backlog] = []
        self.ledger = _Ledger()
        self.transitions: Counter[str] = Counter()
        self.broken: list[str] = []

    # What the host and the world do.

    def registered(self, voice_id: str) -> None:
        """A person told the host of a voice."""
        self._known[voice_id] = _Known(self._clock.true)

    def retried(self, name: str) -> None:
        """A person asked for an enrollment again; the voice it made before is nobody's."""
        self._allowed[name] += 1
        self.abandoned |= {v for v in self._known if f"-{name}-" in v}

    def clock_touched(self) -> None:
        """The host's wall clock was set."""
        self._touched.append(self._clock.true)

    def killed(self) -> None:
        """The process died, and may have told of nothing that it did just before."""
        now = self._clock.true
        self._killed.append(now)
        self._early = [task for task in self._early if now - task.at > _SLACK]

    def started(self) -> None:
        """A process began."""
        self._starts += 1

    def spell_ended(self, kind: str) -> None:
        """Something hard is over: see what it left behind."""
        now = self._clock.true
        waiting = {
            voice_id
            for voice_id in self._known
            if (book := self._gateway.book(voice_id, now)).alive
            and book.status == "OK"
            and now - book.last_used_at > self._policy.interval
        }
        drained = None if waiting else timedelta(0)
        self.backlogs.append(Backlog(kind, now, waiting, len(waiting), drained))

    def margins(self) -> timedelta | None:
        """Return the smallest time any voice has left now."""
        now = self._clock.true
        books = (self._gateway.book(voice_id, now) for voice_id in self._known)
        left = [b.last_used_at + self._policy.window - now for b in books if _is_well(b)]
        return min(left, default=None)

    # What goes over the way.

    def claimed(self, spoken: Iterable[str]) -> None:
        """The host chose to speak with these voices, in this order."""
        if self._clock.wrong_by:
            return
        hopeless = None
        for voice_id in spoken:
            known = self._known.get(voice_id)
            if known is None:
                continue
            book = self._gateway.book(voice_id, self._clock.true)
            if self._clock.true >= book.last_used_at + self._policy.window:
                hopeless = voice_id
            elif hopeless is not None and known.used_at == book.last_used_at:
                self._break(f"{hopeless} was past saving and called before {voice_id}")

    def posted(self, call: Call) -> None:
        """A submission set out."""
        for kind, spell in self._weather.at(self._clock.true).items():
            if kind in troubles.ACCOUNT and call.kind == "speech":
                key = (kind, spell.start)
                self._starts_at.setdefault(key, self._starts)
                self._posts[key] += 1
                self._check_pause(key, spell)

    def reached(self, call: Call) -> None:
        """A submission is at the gateway, which has not looked at it yet."""
        self._before = None
        if call.kind == "speech" and call.subject in self._known:
            book = self._gateway.book(call.subject, self._clock.true)
            self._before = book.last_used_at if _is_well(book) else None

    def answered(self, call: Call, answer: Answer) -> None:
        """The gateway answered a submission."""
        if answer.data is None:
            return
        now, task_id = self._clock.true, answer.data["taskId"]
        used_at = too_early = None
        if call.kind == "speech":
            self.ledger.keepalives += 1
            used_at = self._used(call.subject, now)
            if self._blocked:
                used_at = None  # a probe: it tests the way, and is no keepalive
            elif used_at is not None:
                too_early = self._too_early(call.subject, now)
        else:
            self._enrolled[call.subject] += 1
            if self._enrolled[call.subject] > 1 + self._allowed[call.subject]:
                self._break(f"the enrollment of {call.subject} was paid for again")
        at_fault = troubles.WRONG_ACCOUNT in self._weather.at(now)
        task = _Task(call.kind, call.subject, now, used_at, at_fault, too_early)
        self._tasks[task_id] = task
        if too_early is not None:
            self._early.append(task)

    def delivered(self, call: Call, answer: Answer) -> None:
        """An answer came back whole."""
        now = self._clock.true
        if call.kind == "speech":
            if answer.code == 400:  # noqa: PLR2004 - HTTP's
                self._blamed(call.subject, at_fault=self._has(troubles.WRONG_ACCOUNT))
            return
        if call.kind != "status" or not isinstance(answer.data, dict):
            return
        self.ledger.polls += 1
        task = self._tasks.get(call.subject)
        if task is None:
            return
        voice_id = answer.data.get("voice_id")
        if voice_id is not None:
            self._known.setdefault(voice_id, _Known(now))
        known = self._known.get(task.subject)
        if task.kind != "speech" or known is None:
            return
        if answer.data["state"] == "success" and task.used_at is not None:
            known.blamed = 0
            if known.used_at is None or task.used_at >= known.used_at:
                known.used_at, known.told_at = task.used_at, known.told_at or now
                known.told_at = now
        elif answer.data.get("failCode") in ("VALIDATION_ERROR", "UNDEPLOYED"):
            self._blamed(task.subject, at_fault=task.at_fault)

    def told(self, event: str, fields: dict[str, Any]) -> None:
        """The host says that something happened."""
        if event in (Event.UPSTREAM_BLOCKED, Event.UPSTREAM_RECOVERED):
            self._blocked = event == Event.UPSTREAM_BLOCKED
        if event in _CONTROLS and "task_id" in fields:
            self._was_control(self._tasks[fields["task_id"]])
        elif event == Event.CONTROL_FAILED:
            self._excuse_lost_control(fields["voice_id"])
        if event != Event.VOICE_STATUS_CHANGED:
            return
        before, after = Status(fields["from"]), Status(fields["to"])
        self.transitions[f"{before}-{after}"] += 1
        name, voice_id = fields["name"], fields.get("voice_id")
        if (before, after) not in LEGAL:
            self._break(f"{name} went from {before} to {after}")
        if after in (Status.LOST, Status.UNDEPLOYED) and voice_id is not None:
            book = self._gateway.book(voice_id, self._clock.true)
            known = self._known.get(voice_id)
            evident = not book.alive or book.status == "UNDEPLOYED"
            if not evident and (known is None or known.blamed < 2):  # noqa: PLR2004 - and again
                self._break(f"{name} was called {after} and lives")

    # The end.

    def saveable_losses(self) -> list[str]:
        """Return the voices that are lost and could have been saved."""
        return [v for v, book in self._losses() if self._could_be_saved(v, book)]

    def unsaveable_losses(self) -> list[str]:
        """Return the voices that are lost, and that nobody could have saved."""
        return [v for v, book in self._losses() if not self._could_be_saved(v, book)]

    def check_backlogs(self) -> None:
        """Let go of the voices that a backlog need not wait for: they are gone."""
        now = self._clock.true
        for backlog in self.backlogs:
            if backlog.drained_after is None:
                gone = {v for v in backlog.waiting if not self._gateway.book(v, now).alive}
                backlog.waiting -= gone
                if not backlog.waiting:
                    backlog.drained_after = now - backlog.ended_at

    def check_overdue(self) -> None:
        """See that nothing is overdue, if nothing has been wrong for six hours.

        A clock that was set back by less than an interval puts a voice off by as much, and
        nobody can tell; so it is let off for one interval.
        """
        now = self._clock.true
        healing = now - _HEALED_WITHIN
        died = [at for at in self._killed if at > healing]
        confused = any(at > healing - self._policy.interval for at in self._touched)
        if not self._weather.was_calm(healing, now) or confused or len(died) > _DEATHS_SURVIVED:
            return
        for voice_id, used_at in self.living().items():
            late = used_at < healing - self._policy.interval
            if late and self._known[voice_id].since < healing and voice_id not in self._overdue:
                self._overdue.add(voice_id)
                self._break(f"{voice_id} is overdue though all is well")

    def check_healed(self, names: set[str], waiting: set[str], hanging: int) -> None:
        """See that a day after the last trouble all is as though there had been none.

        Args:
            names: in the registry.
            waiting: of voices older than a day that are NEW or DEPLOYING still.
            hanging: open tasks older than six hours.
        """
        for name in sorted(self.acknowledged - names):
            self._break(f"{name} was registered and is not there")
        for name in sorted(waiting):
            self._break(f"{name} came to no end though all is well")
        if hanging:
            self._break(f"{hanging} tasks hang though all is well")

    def _was_control(self, task: _Task) -> None:
        """Take back what was made of a task that tests the way, and is no keepalive."""
        known = self._known.get(task.subject)
        if known is not None and known.used_at is not None and known.used_at == task.used_at:
            known.used_at = None
        task.used_at = task.too_early = None

    def settle(self) -> None:
        """Count what can no longer be excused."""
        self.broken += [task.too_early for task in self._early if task.too_early is not None]

    def living(self) -> dict[str, datetime]:
        """Return the last use of each voice that lives and is to be kept."""
        now = self._clock.true
        books = {v: self._gateway.book(v, now) for v in self._known if v not in self.abandoned}
        return {v: book.last_used_at for v, book in books.items() if _is_well(book)}

    def _used(self, voice_id: str, now: datetime) -> datetime | None:
        known = self._known.get(voice_id)
        if known is None:
            return None
        book = self._gateway.book(voice_id, now)
        if not book.alive or book.last_used_at != now:
            return None
        if self._before is not None:
            margin = self._before + self._policy.window - now
            least = self.ledger.smallest_margin
            self.ledger.smallest_margin = margin if least is None else min(margin, least)
        for backlog in self.backlogs:
            if voice_id in backlog.waiting:
                backlog.waiting.discard(voice_id)
                if not backlog.waiting:
                    backlog.drained_after = now - backlog.ended_at
        return now

    def _too_early(self, voice_id: str, now: datetime) -> str | None:
        """Return the sentence that a voice is used though its last use is known, if it is so."""
        known = self._known[voice_id]
        if (
            known.used_at is None
            or known.told_at is None
            or now - known.used_at >= self._least_gap
            or self._excused(known.used_at, known.told_at, now)
        ):
            return None
        ago = now - known.used_at
        return f"{now}: {voice_id} was used again after {ago}, its last use being known"

    def _excused(self, used_at: datetime, told_at: datetime, now: datetime) -> bool:
        """Tell whether the host may have had to forget a use, or to misdate it."""
        if any(used_at <= at <= now for at in self._touched):
            return True
        return any(told_at <= at <= told_at + _SLACK for at in self._killed)

    def _excuse_lost_control(self, voice_id: str) -> None:
        """Excuse the use by a control call just made, of whose task the host was never told."""
        longest = 2 * self._policy.timeout + _SLACK
        for task in reversed(self._early):
            if task.subject == voice_id and self._clock.true - task.at <= longest:
                task.used_at = task.too_early = None
                return

    def _blamed(self, voice_id: str, *, at_fault: bool) -> None:
        known = self._known.get(voice_id)
        is_alone = len(self.living()) < 2  # noqa: PLR2004 - no other could bear witness
        if known is not None and (not at_fault or is_alone):
            known.blamed += 1

    def _check_pause(self, key: tuple[str, timedelta], spell: troubles.Spell) -> None:
        """Hold the calls under an account's fault against what a breaker lets through."""
        policy = self._policy
        begun = self._starts - self._starts_at[key] + 1
        lasted = (spell.end - spell.start) / timedelta(hours=1)
        near_deadlines = 10 * len(self._known)
        allowed = begun * (policy.max_in_flight + 16) + near_deadlines + 3 * lasted
        if self._posts[key] > allowed:
            self._break(f"{self._posts[key]} calls were made under {key[0]}")

    def _has(self, kind: str) -> bool:
        return kind in self._weather.at(self._clock.true)

    def _losses(self) -> list[tuple[str, VoiceBook]]:
        now = self._clock.true
        books = ((v, self._gateway.book(v, now)) for v in self._known if v not in self.abandoned)
        return [(v, book) for v, book in books if not book.alive and book.status == "OK"]

    def _could_be_saved(self, voice_id: str, book: VoiceBook) -> bool:
        gone_at, window = book.deleted_at, self._policy.window
        if gone_at is None or gone_at < book.last_used_at + window:
            return False  # deleted for no reason
        start = max(gone_at - window * 2 / 7, self._known[voice_id].since)
        return self._weather.worked(start, gone_at, window / 84)

    def _break(self, sentence: str) -> None:
        self.broken.append(f"{self._clock.true:%Y-%m-%d %H:%M:%S}: {sentence}")


def _is_well(book: VoiceBook) -> bool:
    return book.alive and book.status == "OK"
