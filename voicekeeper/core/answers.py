"""What the gateway answers when a call works: the values that rules judge.

A call that does not work raises `voicekeeper.errors.CallFailed` instead.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Accepted:
    """A task was accepted (page section *Submit task response*).

    Attributes:
        task_id: opaque; no format is promised.
    """

    task_id: str


class Report(NamedTuple):
    """What ``statusTask`` says of a task (page section *Status response fields*).

    Every field but ``state`` may be missing, and an unknown value is passed on as it came.

    Attributes:
        state: ``pending``, ``processing``, ``success``, ``failed``, or something new.
        voice_id: the custom voice of a clone or design task.
        voice_status: ``DEPLOYING``, ``OK``, ``UNDEPLOYED``, or something new.
        fail_code: machine-readable; present when the state is ``failed``.
        fail_message: the same for people.
        created_at: the task's ``createTime``, by the gateway's clock.
        completed_at: the task's ``completeTime``, by the gateway's clock.
        result_urls: audio of the result; they expire after 24 hours.
        answered_at: the gateway's own wall time when it answered (``Date`` header).
    """

    state: str
    voice_id: str | None = None
    voice_status: str | None = None
    fail_code: str | None = None
    fail_message: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    result_urls: tuple[str, ...] = ()
    answered_at: datetime | None = None
