"""The tasks, voices and answers of the stand-in gateway."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Answer(NamedTuple):
    """What the gateway answers: the JSON envelope, whose ``code`` is also the HTTP status."""

    code: int
    message: str = "success"
    data: Any = None

    def body(self) -> dict[str, Any]:
        """Return the JSON object; without ``data`` where there is none."""
        envelope = {"code": self.code, "message": self.message}
        return envelope if self.data is None else envelope | {"data": self.data}


class VoiceBook(NamedTuple):
    """The truth about a custom voice, which the real gateway never shows.

    Attributes:
        status: ``DEPLOYING``, ``OK`` or ``UNDEPLOYED``; the last one it had, if it is gone.
        uses: speech tasks with it that ended in success.
        made_by: ``clone``, ``design`` or ``import``.
        last_used_at: its enrollment, or the ``createTime`` of a speech task that succeeds.
    """

    voice_id: str
    model: str
    status: str
    alive: bool
    uses: int
    made_by: str
    last_used_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Books:
    """All that the gateway did and knows, at an instant.

    Attributes:
        voices: every custom voice there ever was, by voice id.
        speech, clone, design: tasks accepted, failed ones included.
        polls: ``statusTask`` calls answered.
        refused: calls refused, by code.
    """

    voices: Mapping[str, VoiceBook]
    speech: int
    clone: int
    design: int
    polls: int
    cost_micros: int
    refused: Mapping[int, int]


class Task(NamedTuple):
    """One accepted task, with its settled end.

    Attributes:
        started_at: when ``pending`` becomes ``processing``.
        ended_at: when that becomes ``success`` or ``failed``.
        audio: the format of its audio.
        failure: the fail code and its words.
        voice_status: in the answer of the ended task.
    """

    task_id: str
    model: str
    created_at: datetime
    started_at: datetime
    ended_at: datetime
    audio: str
    failure: tuple[str, str] | None
    voice_id: str | None = None
    voice_status: str | None = None

    def data(self, now: datetime) -> dict[str, Any]:
        """Return ``data`` as ``statusTask`` shows it (section *Poll for result*)."""
        created = _unix_ms(self.created_at)
        data: dict[str, Any] = {"taskId": self.task_id, "state": "pending", "createTime": created}
        if now < self.started_at:
            return data
        ended = now >= self.ended_at
        data["state"] = "processing"
        if self.voice_id is not None:
            data["voice_id"] = self.voice_id
            data["voice_status"] = self.voice_status if ended else "DEPLOYING"
        if not ended:
            return data
        completed = _unix_ms(self.ended_at)
        data["completeTime"] = completed
        if self.failure is not None:
            code, message = self.failure
            return data | {"state": "failed", "failCode": code, "failMsg": message}
        # A host that cannot exist: nobody may take a sandbox's result for a recording.
        urls = {"resultUrls": [f"https://sandbox.invalid/{self.task_id}.{self.audio}"]}
        result = json.dumps(urls, separators=(",", ":"))
        return data | {"state": "success", "resultJson": result, "costTime": completed - created}


@dataclass(slots=True)
class Voice:
    """One custom voice.

    Attributes:
        settled_at: when DEPLOYING becomes ``settled_as``.
        uses: speech tasks that ended in success, as far as they were counted.
        speaking: when the others that will do so end.
    """

    voice_id: str
    model: str
    made_by: str
    last_used_at: datetime
    settled_at: datetime
    settled_as: str = "OK"
    uses: int = 0
    speaking: list[datetime] = field(default_factory=list)
    deleted_at: datetime | None = None

    def status(self, now: datetime) -> str:
        """Return DEPLOYING, OK or UNDEPLOYED."""
        return "DEPLOYING" if now < self.settled_at else self.settled_as

    def gone_at(self, now: datetime, window: timedelta) -> datetime | None:
        """Return when it was deleted or garbage-collected; None while it lives."""
        if self.deleted_at is not None:
            return self.deleted_at
        collected_at = self.last_used_at + window
        return collected_at if now >= collected_at else None

    def book(self, now: datetime, window: timedelta) -> VoiceBook:
        """Return the truth about it, its speech tasks counted that have ended by now."""
        still = [ends_at for ends_at in self.speaking if ends_at > now]
        self.uses += len(self.speaking) - len(still)
        self.speaking = still
        gone_at = self.gone_at(now, window)
        return VoiceBook(
            voice_id=self.voice_id,
            model=self.model,
            status=self.status(gone_at or now),
            alive=gone_at is None,
            uses=self.uses,
            made_by=self.made_by,
            last_used_at=self.last_used_at,
            deleted_at=gone_at,
        )


@dataclass(slots=True)
class Callback:
    """A webhook that was not delivered yet; ``tries`` have failed."""

    task_id: str
    url: str
    due_at: datetime
    tries: int = 0


def _unix_ms(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
