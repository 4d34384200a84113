"""The stand-in gateway as a state machine: calls and ``now`` in, answers out.

No I/O and no clock, and its only randomness is a seeded generator: the same calls at the same times
get the same answers. How a task ends is settled when it is accepted; its answers follow from
``now``. Nothing runs in the background, so years pass in no time.

What the page leaves open is decided here, always for the harder case:

- A custom voice is gone from the very instant at which its last use lies one window back. Its
  enrollment is its first use; a speech task that succeeds uses it at the task's ``createTime``.
- How an enrollment ends follows from the start of its ``prefix``: ``reject`` ends UNDEPLOYED;
  ``slow`` ends TASK_TIMEOUT, and its voice becomes OK by itself one ``late`` afterwards; ``fail``
  ends with UpstreamError and no voice; any other ends OK.
- Speech with a voice that is still DEPLOYING is a task that fails with UpstreamError.
- A task is forgotten, and answered 404, 30 days after it was made.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

from voicekeeper.sandbox import rules
from voicekeeper.sandbox.records import Answer, Books, Callback, Task, Voice, VoiceBook
from voicekeeper.sandbox.rules import Order, RefusedError

FLASH = "cosyvoice-3-flash"
"""The only model with built-in voices (page section *Common validation rules*)."""

Span = tuple[timedelta, timedelta]
"""The shortest and the longest time something takes."""

Stuck = Literal["pending", "processing"]
"""The state in which a task stops for ever."""

_BUILT_IN = re.compile(r"loo?ng[a-z]+(_v[0-9]+)?")
_EVER = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)
_TASKS_KEPT = timedelta(days=30)

_CALL_AGAIN = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
"""After how long a webhook that was not taken is delivered again."""

Failure = tuple[str, str]
"""A fail code and its words."""

_VALIDATION = ("VALIDATION_ERROR", "The voice_id is invalid for the current user or model.")
_REVIEW = ("UNDEPLOYED", "Voice review failed. This custom voice is unavailable (UNDEPLOYED).")
_TIMEOUT = ("TASK_TIMEOUT", "Custom voice deployment stayed in DEPLOYING for too long.")
_UPSTREAM = "UpstreamError"


class Gateway:
    """The gateway of one account. Not thread-safe: `SandboxServer` puts a lock around it.

    Args:
        late: how long after its TASK_TIMEOUT a ``slow`` voice becomes OK.
        unknown_voice: ``task``: speech with a voice that does not exist is accepted and fails
            with VALIDATION_ERROR; ``http``: it is refused with 400.
        key: the API key that is taken; None takes any but an empty one.
        balance_micros: of the account, in millionths of a US dollar; None is endless.
    """

    def __init__(
        self,
        rng: random.Random | None = None,
        *,
        window: timedelta = timedelta(days=7),
        speech_time: Span = (timedelta(seconds=5), timedelta(seconds=30)),
        enrollment_time: Span = (timedelta(seconds=30), timedelta(seconds=180)),
        late: timedelta = timedelta(minutes=5),
        unknown_voice: Literal["task", "http"] = "task",
        key: str | None = None,
        balance_micros: int | None = None,
    ) -> None:
        self._rng = rng if rng is not None else random.Random(0)
        self._window = window
        self._speech_time = speech_time
        self._enrollment_time = enrollment_time
        self._late = late
        self._unknown_voice = unknown_voice
        self._key = key
        self._balance_micros = balance_micros
        self._tasks: dict[str, Task] = {}
        self._voices: dict[str, Voice] = {}
        self._accepted: Counter[str] = Counter()
        self._refused: Counter[int] = Counter()
        self._polls = 0
        self._cost_micros = 0
        self._callbacks: dict[str, Callback] = {}

    def generate(
        self,
        model: str,
        body: object,
        now: datetime,
        key: str | None,
        *,
        doom: str | None = None,
        stuck: Stuck | None = None,
    ) -> Answer:
        """Answer ``POST generateTask/{model}``.

        Args:
            doom: a fail code with which the task, if accepted, ends; an enrollment then
                makes no voice.
            stuck: where the task, if accepted, stops for ever: a speech task then uses no
                voice, and an enrollment that is processing has shown its voice's id.
        """
        try:
            self._admit(model, key)
            order = rules.read(body)
            failure = self._failure_of(model, order, now)
            self._charge(order)
        except RefusedError as refusal:
            return self._refuse(refusal)
        if doom is not None:
            failure = (doom, "The task failed by the sandbox's order.")
        task = self._task(model, order, now, failure, stuck)
        self._forget(now)
        self._tasks[task.task_id] = task
        if order.callback_url is not None:
            callback = Callback(task.task_id, order.callback_url, task.ended_at)
            self._callbacks[task.task_id] = callback
        return Answer(200, data={"taskId": task.task_id})

    def status(self, model: str, task_id: str | None, now: datetime, key: str | None) -> Answer:
        """Answer ``GET statusTask/{model}?taskId=``; 404 for a task it does not know."""
        try:
            self._admit(model, key)
        except RefusedError as refusal:
            return self._refuse(refusal)
        if not task_id:
            return self._refuse(RefusedError(400, "taskId is required."))
        task = self._tasks.get(task_id)
        if task is None or task.model != model:
            return self._refuse(RefusedError(404, "Task not found."))
        self._polls += 1
        return Answer(200, data=task.data(now))

    def balance(self, key: str | None) -> Answer:
        """Answer ``GET apikeys/current-balance``: US dollars; an endless account shows 74.87."""
        try:
            self._admit(FLASH, key)
        except RefusedError as refusal:
            return self._refuse(refusal)
        micros = self._balance_micros
        left = 74.87 if micros is None else (micros - self._cost_micros) / 1_000_000
        return Answer(200, data=left)

    def callbacks(self, now: datetime) -> list[tuple[Callback, Answer]]:
        """Return the webhooks that are due now, with what each holds; report it to `called`."""
        due = [each for each in self._callbacks.values() if each.due_at <= now]
        return [(each, Answer(200, data=self._tasks[each.task_id].data(now))) for each in due]

    def called(self, callback: Callback, now: datetime, *, taken: bool) -> None:
        """Record that a webhook was delivered, or not: then it is tried three times more."""
        if taken or callback.tries == len(_CALL_AGAIN):
            self._callbacks.pop(callback.task_id, None)
        else:
            callback.due_at = now + _CALL_AGAIN[callback.tries]
            callback.tries += 1

    def import_voice(
        self, voice_id: str, model: str, now: datetime, *, last_used_at: datetime | None = None
    ) -> None:
        """Add a custom voice that was made elsewhere; ``last_used_at`` is now if not given.

        Raises:
            ValueError: a living voice has the id.
        """
        known = self._voices.get(voice_id)
        if known is not None and known.gone_at(now, self._window) is None:
            raise ValueError(f"the voice {voice_id} exists already")
        used_at = last_used_at or now
        self._voices[voice_id] = Voice(voice_id, model, "import", used_at, settled_at=_EVER)

    def delete_voice(self, voice_id: str, now: datetime) -> None:
        """Delete a voice for no reason; KeyError if no living voice has the id."""
        self._living(voice_id, now).deleted_at = now

    def undeploy_voice(self, voice_id: str, now: datetime) -> None:
        """Take a living voice out of use, as a review long after its enrollment does."""
        self._living(voice_id, now).settled_as = "UNDEPLOYED"

    def forget_task(self, task_id: str) -> None:
        """Answer 404 for a task from now on; what it did, it did."""
        del self._tasks[task_id]
        self._callbacks.pop(task_id, None)

    def voice_ids(self) -> Iterable[str]:
        """Return the id of every custom voice there ever was."""
        return self._voices.keys()

    def book(self, voice_id: str, now: datetime) -> VoiceBook:
        """Return the truth about one voice."""
        return self._voices[voice_id].book(now, self._window)

    def books(self, now: datetime) -> Books:
        """Return the truth at ``now``."""
        return Books(
            voices={key: voice.book(now, self._window) for key, voice in self._voices.items()},
            speech=self._accepted["speech"],
            clone=self._accepted["clone"],
            design=self._accepted["design"],
            polls=self._polls,
            cost_micros=self._cost_micros,
            refused=dict(self._refused),
        )

    def _living(self, voice_id: str, now: datetime) -> Voice:
        voice = self._voices[voice_id]
        if voice.gone_at(now, self._window) is not None:
            raise KeyError(voice_id)
        return voice

    def _admit(self, model: str, key: str | None) -> None:
        """Refuse a key with 401, and a model outside of the family with 403."""
        if not key or (self._key is not None and key != self._key):
            raise RefusedError(401, "Missing or invalid API key.")
        if not model.startswith("cosyvoice-"):
            raise RefusedError(403, "This key cannot access the model.")

    def _refuse(self, refusal: RefusedError) -> Answer:
        self._refused[refusal.code] += 1
        return Answer(refusal.code, refusal.message)

    def _failure_of(self, model: str, order: Order, now: datetime) -> Failure | None:
        """Return the failure with which a speech task will end, or None.

        Raises:
            RefusedError: 400 for a voice that does not exist, if it is to be refused at once.
        """
        if order.mode != "speech" or (model == FLASH and _BUILT_IN.fullmatch(order.subject)):
            return None
        voice = self._voices.get(order.subject)
        if voice is None or voice.model != model or voice.gone_at(now, self._window) is not None:
            if self._unknown_voice == "http":
                raise RefusedError(400, _VALIDATION[1])
            return _VALIDATION
        match voice.status(now):
            case "DEPLOYING":
                return (_UPSTREAM, "The custom voice is not ready (DEPLOYING).")
            case "UNDEPLOYED":
                return _REVIEW
        return None

    def _charge(self, order: Order) -> None:
        left = self._balance_micros
        if left is not None and self._cost_micros + order.cost_micros > left:
            raise RefusedError(402, "Insufficient balance.")
        self._cost_micros += order.cost_micros
        self._accepted[order.mode] += 1

    def _task(
        self, model: str, order: Order, now: datetime, failure: Failure | None, stuck: Stuck | None
    ) -> Task:
        """Settle how the task goes, and what it does to the voice."""
        shortest, longest = self._speech_time if order.mode == "speech" else self._enrollment_time
        takes = shortest + (longest - shortest) * self._rng.random()
        started_at = now + takes * (0.2 * self._rng.random())
        task_id = f"task_{self._rng.getrandbits(128):032x}"
        task = Task(task_id, model, now, started_at, now + takes, order.audio, failure)
        if order.mode != "speech":
            task = self._enrolled(order, task)
        elif failure is None and stuck is None and order.subject in self._voices:
            voice = self._voices[order.subject]
            voice.speaking.append(task.ended_at)
            voice.last_used_at = max(voice.last_used_at, now)
        if stuck is None:
            return task
        started_at = _NEVER if stuck == "pending" else task.started_at
        return task._replace(started_at=started_at, ended_at=_NEVER)

    def _enrolled(self, order: Order, task: Task) -> Task:
        """Return an enrollment as its prefix lets it end, and make its voice."""
        prefix = order.subject.lower()
        if task.failure is not None:
            return task
        if prefix.startswith("fail"):
            return task._replace(failure=(_UPSTREAM, "The enrollment failed upstream."))
        failure, status, settled_at = None, "OK", task.ended_at
        if prefix.startswith("reject"):
            failure, status = _REVIEW, "UNDEPLOYED"
        elif prefix.startswith("slow"):
            failure, status, settled_at = _TIMEOUT, "DEPLOYING", task.ended_at + self._late
        family = task.model.replace("cosyvoice-", "cosyvoice-v", 1)
        voice_id = f"{family}-{order.subject}-{self._rng.getrandbits(128):032x}"
        settled_as = "UNDEPLOYED" if status == "UNDEPLOYED" else "OK"
        self._voices[voice_id] = Voice(
            voice_id, task.model, order.mode, task.created_at, settled_at, settled_as
        )
        return task._replace(failure=failure, voice_id=voice_id, voice_status=status)

    def _forget(self, now: datetime) -> None:
        """Drop the oldest tasks, so that years of work fit into memory."""
        while self._tasks:
            oldest = next(iter(self._tasks.values()))
            if now - oldest.created_at < _TASKS_KEPT:
                return
            self.forget_task(oldest.task_id)
