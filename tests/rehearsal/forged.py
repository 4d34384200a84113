"""The invariants with forged evidence: a gateway, true time, and answers that arrive or do not."""

import random
from datetime import timedelta
from typing import Any

from tests.rehearsal.stage import MINUTE, ChangingFaults
from tests.support import policy
from voicekeeper.core.events import Event, Level
from voicekeeper.core.models import Kind, Status
from voicekeeper.core.requests import FLASH
from voicekeeper.rehearsal.clock import HostClock, VirtualLoop
from voicekeeper.rehearsal.faults import Period
from voicekeeper.rehearsal.invariants import Invariants
from voicekeeper.rehearsal.network import KEY, Call
from voicekeeper.rehearsal.simulation import BEGINNING
from voicekeeper.sandbox import Answer, Gateway
from voicekeeper.store.jobs import Claims, Job

OURS = "id-anna-"


class Forged:
    """The invariants, and a world that does what a test says.

    Args:
        wrong_by: how far ahead of the truth the host's clock is at the beginning.
    """

    def __init__(self, wrong_by: timedelta = timedelta(0)) -> None:
        self.loop = VirtualLoop()
        self.clock = HostClock(self.loop, BEGINNING)
        self.clock.wrong_by = wrong_by
        self.timeline = ChangingFaults()
        self.gateway = Gateway(random.Random(0))
        self.invariants = Invariants(
            self.gateway, clock=self.clock, timeline=self.timeline, policy=policy()
        )
        self.invariants.started()
        self.gateway.import_voice(OURS, FLASH, BEGINNING)
        self.invariants.registered("anna", OURS)

    def wait(self, length: timedelta) -> None:
        self.loop.leap(length.total_seconds())

    @property
    def broken(self) -> list[str]:
        """The violations so far."""
        return self.invariants.evidence.broken

    def set_clock(self) -> None:
        self.invariants.evidence.clock_set.append(self.clock.true)

    def period(self, kind: str, start: timedelta, length: timedelta) -> None:
        self.timeline.begin(Period(kind, start, start + length))

    def speak(
        self,
        voice_id: str = OURS,
        *,
        kind: Kind = Kind.KEEPALIVE,
        doom: str | None = None,
        refused: int | None = None,
    ) -> str:
        """Make a speech call; return its task."""
        body = {"mode": "speech", "voice": voice_id, "prompt": "Hello."}
        call = Call("speech", FLASH, voice_id, None)
        return self._submit(kind, call, body, doom=doom, refused=refused)

    def enroll(self, name: str, *, refused: int | None = None) -> str:
        """Request a clone; return its task."""
        body = {"mode": "clone", "prefix": name, "audio_urls": ["https://example.com/a.wav"]}
        call = Call("clone", FLASH, name, None)
        return self._submit(Kind.CLONE, call, body, refused=refused)

    def poll(self, task_id: str) -> None:
        """Ask for a task, and get the answer."""
        answer = self.gateway.status(FLASH, task_id, self.clock.true, KEY)
        self.invariants.delivered(Call("status", FLASH, task_id, None), answer)

    def use(self) -> None:
        """Use our voice, and learn that it worked."""
        task_id = self.speak()
        self.wait(MINUTE)
        self.poll(task_id)

    def log(self, event: Event, level: Level = "info", **fields: Any) -> None:  # noqa: ANN401
        """Let the host log an event."""
        self.invariants.logged(level, event, fields)

    def turned(self, before: Status, after: Status, voice_id: str | None = OURS) -> None:
        """Let the host say that our voice has another status."""
        fields = {"name": "anna", "from": before, "to": after, "voice_id": voice_id}
        self.invariants.logged("info", Event.VOICE_STATUS_CHANGED, fields)

    def settled(self) -> list[str]:
        """Return the violations, all of them counted."""
        self.invariants.settle()
        return self.broken

    def _submit(
        self,
        kind: Kind,
        call: Call,
        asked: dict[str, Any],
        *,
        doom: str | None = None,
        refused: int | None = None,
    ) -> str:
        self.invariants.claimed(taken((kind, call.subject)))
        self.invariants.posted(call)
        if refused is not None:
            self.invariants.delivered(call, Answer(refused, "No."))
            return ""
        self.invariants.reached(call)
        body = {"request_type": "async", "input": asked}
        answer = self.gateway.generate(FLASH, body, self.clock.true, KEY, doom=doom)
        self.invariants.answered(call, answer)
        self.invariants.delivered(call, answer)
        task_id = answer.data["taskId"]
        assert isinstance(task_id, str)
        return task_id


def taken(*calls: tuple[Kind, str], polls: tuple[Kind, ...] = (), model: str = FLASH) -> Claims:
    """Return what a pass was given.

    Args:
        calls: of which kind, and with which voice, or for which name.
        polls: of which kind were the tasks to ask for.
        model: of all of them.
    """

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
