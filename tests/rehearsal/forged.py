"""The invariants with forged evidence: a gateway, true time, and answers that arrive or do not."""

import random
from datetime import datetime, timedelta
from typing import Any

from tests.rehearsal.stage import MINUTE, SECOND, ChangingFaults
from tests.support import policy
from voicekeeper.core.events import Event, Level
from voicekeeper.core.models import Kind, Status
from voicekeeper.core.requests import FLASH
from voicekeeper.rehearsal.clock import HostClock, VirtualLoop
from voicekeeper.rehearsal.faults import Period
from voicekeeper.rehearsal.invariants import Claims, Invariants
from voicekeeper.rehearsal.invariants.evidence import Call
from voicekeeper.rehearsal.network import KEY
from voicekeeper.sandbox import Answer, Gateway
from voicekeeper.store.jobs import Job

OURS = "id-anna-"


class Forged:
    """The invariants, and a world that does what a test says.

    Args:
        wrong_by: how far ahead of the truth the host's clock is at the beginning.
    """

    def __init__(self, wrong_by: timedelta = timedelta(0)) -> None:
        self.loop = VirtualLoop()
        self.clock = HostClock(self.loop)
        self.clock.wrong_by = wrong_by
        self.timeline = ChangingFaults()
        self.gateway = Gateway(random.Random(0))
        self.invariants = Invariants(
            self.gateway, clock=self.clock, timeline=self.timeline, policy=policy()
        )
        self.invariants.started()
        self.import_voice("anna")

    @property
    def broken(self) -> list[str]:
        """The violations so far."""
        return self.invariants.evidence.broken

    def settled(self) -> list[str]:
        """Return the violations, all of them counted."""
        self.invariants.settle()
        return self.broken

    # The host, and time.

    def wait(self, length: timedelta) -> None:
        self.loop.leap(length.total_seconds())

    def period(self, kind: str, start: timedelta, length: timedelta) -> None:
        self.timeline.begin(Period(kind, start, start + length))

    def set_clock(self) -> None:
        self.invariants.evidence.clock_set.append(self.clock.true)

    def die(self, away: timedelta = 5 * SECOND) -> None:
        self.invariants.killed()
        if away:
            self.wait(away)
        self.invariants.started()

    def log(self, event: Event, level: Level = "info", **fields: Any) -> None:  # noqa: ANN401
        """Let the host log an event."""
        self.invariants.logged(level, event, fields)

    def turned(self, before: Status, after: Status, voice_id: str | None = OURS) -> None:
        """Let the host log that our voice has another status."""
        fields = {"name": "anna", "from": before, "to": after, "voice_id": voice_id}
        self.invariants.logged("info", Event.VOICE_STATUS_CHANGED, fields)

    # Calls.

    def import_voice(self, name: str, last_used_at: datetime | None = None) -> None:
        """Register a voice that was used at an instant, or now."""
        now = self.clock.true
        self.gateway.import_voice(f"id-{name}-", FLASH, now, last_used_at=last_used_at)
        self.invariants.registered(name, f"id-{name}-")

    def use(self) -> None:
        """Use our voice, and learn that it worked."""
        task_id = self.speak()
        self.wait(MINUTE)
        self.poll(task_id)

    def fail(self, code: str | None = "VALIDATION_ERROR", *, refused: int | None = None) -> None:
        """Fail to use our voice, and learn that."""
        task_id = self.speak(doom=code, refused=refused)
        self.wait(MINUTE)
        if task_id:
            self.poll(task_id)

    def speak(
        self,
        voice_id: str = OURS,
        *,
        kind: Kind = Kind.KEEPALIVE,
        doom: str | None = None,
        refused: int | None = None,
    ) -> str:
        """Make a speech call; return its task."""
        asked = {"mode": "speech", "voice": voice_id, "prompt": "Hello."}
        call = Call("speech", FLASH, voice_id, {"request_type": "async", "input": asked})
        return self._submit(kind, call, doom=doom, refused=refused)

    def enroll(self, name: str, *, refused: int | None = None) -> str:
        """Request a clone; return its task."""
        asked = {"mode": "clone", "prefix": name, "audio_urls": ["https://example.com/a.wav"]}
        call = Call("clone", FLASH, name, {"request_type": "async", "input": asked})
        return self._submit(Kind.CLONE, call, refused=refused)

    def poll(self, task_id: str) -> None:
        """Poll a task, and get the answer."""
        answer = self.gateway.status(FLASH, task_id, self.clock.true, KEY)
        self.invariants.delivered(Call("status", FLASH, task_id, None), answer)

    def _submit(
        self, kind: Kind, call: Call, *, doom: str | None = None, refused: int | None = None
    ) -> str:
        self.invariants.claimed(taken((kind, call.subject)))
        self.invariants.posted(call)
        if refused is not None:
            self.invariants.delivered(call, Answer(refused, "No."))
            return ""
        self.invariants.reached(call)
        answer = self.gateway.generate(FLASH, call.body, self.clock.true, KEY, doom=doom)
        self.invariants.answered(call, answer)
        self.invariants.delivered(call, answer)
        return str(answer.data["taskId"])


def taken(*calls: tuple[Kind, str], polls: tuple[Kind, ...] = (), model: str = FLASH) -> Claims:
    """Return what a pass took: calls with voices, or for names, and polls of our voice's tasks."""

    def job(kind: Kind, subject: str) -> Job:
        made = kind.is_enrollment
        recipe = {"prefix": subject} if made else None
        return Job(1, 1, kind, model, subject, None if made else subject, recipe, None)

    return Claims(
        calls=[job(kind, subject) for kind, subject in calls],
        polls=[job(kind, OURS) for kind in polls],
        more_calls=False,
        more_polls=False,
        alerts=False,
        lines=(),
    )
