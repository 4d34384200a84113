"""The catalogue of the log: every event, its level, and its meaning.

One name is used in the log, in a voice's history and in the docs, so that a search for it finds
all three. Names are ``noun.past_participle``. Levels: an ``error`` wakes a person, a ``warning``
may, a voice's ordinary life is ``info``, polling is ``debug``.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, Literal, Protocol, Self

from voicekeeper.core.enums import LIVING, Status

Level = Literal["debug", "info", "warning", "error"]


class Event(StrEnum):
    """A kind of line: its name, its level, and one sentence for the docs.

    The level of a status change is `level_of_change`, that of a risk `alerting.level`.
    """

    level: Level
    meaning: str

    def __new__(cls, name: str, level: Level = "info", meaning: str = "") -> Self:
        """Make a member whose value is its name."""
        event = str.__new__(cls, name)
        event._value_ = name
        event.level = level
        event.meaning = meaning
        return event

    VOICE_REGISTERED = "voice.registered", "info", "A voice was added, imported, or is to be made."
    VOICE_STATUS_CHANGED = (
        "voice.status_changed",
        "info",
        "A voice's status changed; a warning when it became one that does not speak.",
    )
    VOICE_LOST = (
        "voice.lost",
        "error",
        "The gateway no longer knows the voice, and the account is not to blame.",
    )
    VOICE_UNDEPLOYED = "voice.undeployed", "warning", "The gateway's review took the voice away."
    VOICE_AT_RISK = (
        "voice.at_risk",
        "warning",
        "No keepalive succeeds, and under 48 h of seven days are left; an error under 12 h.",
    )
    VOICE_RECOVERED = (
        "voice.recovered",
        "info",
        "A voice that was told lost, undeployed or at risk speaks again.",
    )
    VOICE_TOUCHED = "voice.touched", "info", "A person recorded a use of the voice made elsewhere."
    VOICE_PAUSED = "voice.paused", "info", "A person stopped the keeping of the voice."
    VOICE_RESUMED = "voice.resumed", "info", "A person started the keeping of the voice again."
    VOICE_HASTENED = "voice.hastened", "info", "A person asked for a keepalive at once."
    VOICE_RETRIED = "voice.retried", "info", "A person asked for the enrollment to be repeated."
    VOICE_REMOVED = "voice.removed", "info", "A person had the voice and its history forgotten."
    KEEPALIVE_SUBMITTED = "keepalive.submitted", "info", "The gateway accepted a keepalive."
    KEEPALIVE_SUCCEEDED = (
        "keepalive.succeeded",
        "info",
        "A keepalive ended in success: the voice is used.",
    )
    KEEPALIVE_FAILED = (
        "keepalive.failed",
        "warning",
        "A keepalive failed; its `retry_at` is when the next is due.",
    )
    ENROLLMENT_SUBMITTED = (
        "enrollment.submitted",
        "info",
        "The gateway accepted a clone or design task.",
    )
    ENROLLMENT_SUCCEEDED = "enrollment.succeeded", "info", "A clone or design task made a voice."
    ENROLLMENT_FAILED = "enrollment.failed", "warning", "A clone or design task made no voice."
    ENROLLMENT_HELD = (
        "enrollment.held",
        "warning",
        "The day's budget holds a clone or design back; its `until` is when it goes on.",
    )
    CONTROL_SUBMITTED = (
        "control.submitted",
        "info",
        "The gateway accepted a speech call that tests the account, not a voice.",
    )
    CONTROL_SUCCEEDED = (
        "control.succeeded",
        "info",
        "The control call succeeded: the account works; told of each suspected voice too.",
    )
    CONTROL_FAILED = "control.failed", "warning", "The control call failed: no voice is to blame."
    TASK_POLLED = "task.polled", "debug", "The gateway was asked how a task stands."
    BALANCE_ASKED = "balance.asked", "debug", "The gateway was asked what the account holds."
    UPSTREAM_BLOCKED = (
        "upstream.blocked",
        "error",
        "The account or the gateway fails: all calls pause but a probe.",
    )
    UPSTREAM_RECOVERED = "upstream.recovered", "info", "A probe succeeded: calls flow again."
    BACKUP_COMPLETED = "backup.completed", "info", "The day's copy of the registry was made."
    BACKUP_FAILED = (
        "backup.failed",
        "warning",
        "The day's copy of the registry could not be made; it is tried again hourly.",
    )
    REGISTRY_CREATED = (
        "registry.created",
        "warning",
        "The daemon found no registry and made an empty one, as where the address is mistyped.",
    )
    REGISTRY_SHARED = (
        "registry.shared",
        "warning",
        "Another program has the registry's file open in WAL mode; it is used as it is.",
    )
    HISTORY_PRUNED = (
        "history.pruned",
        "info",
        "What happened longer ago than is kept was deleted: so many events, calls and alerts.",
    )
    CLOCK_JUMPED = "clock.jumped", "warning", "The host's clock was set, or the host was suspended."
    LOG_DROPPED = (
        "log.dropped",
        "warning",
        "So many `lines` of the log were dropped, because nobody read it.",
    )
    LISTENER_OPENED = "listener.opened", "info", "The daemon listens on one of its ports."
    LISTENER_FAILED = (
        "listener.failed",
        "warning",
        (
            "A port, or the socket for reloads, cannot be had; voices are kept all the same, and a "
            "port is tried again."
        ),
    )
    SETTINGS_RELOADED = (
        "settings.reloaded",
        "info",
        "The settings were read anew and are in force; `changed` names what differs.",
    )
    SETTINGS_REFUSED = (
        "settings.refused",
        "warning",
        "The settings were read anew and cannot be used: the old ones stay in force.",
    )
    MESSAGE_SENT = "message.sent", "info", "A message to people arrived at an address."
    MESSAGE_FAILED = (
        "message.failed",
        "warning",
        "A message did not arrive; it is tried again, and told once until it does.",
    )
    MESSAGE_DROPPED = (
        "message.dropped",
        "warning",
        "A message that did not arrive for a week, or a day and a newer came, is given up.",
    )
    HEARTBEAT_FAILED = (
        "heartbeat.failed",
        "warning",
        "The dead man's switch could not be pinged; told once until it can.",
    )
    DAEMON_READY = "daemon.ready", "info", "The daemon has started and recovered what was open."
    DAEMON_STANDBY = (
        "daemon.standby",
        "info",
        "The daemon waits to take over; `keeper` is the active one, which works.",
    )
    DAEMON_STOPPED = (
        "daemon.stopped",
        "info",
        "The daemon has stopped; open tasks wait in the rows.",
    )
    PASS_FAILED = "pass.failed", "error", "A pass ended in an error of the program itself."


NUMBERS: Final[dict[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""The standard logger's number of each level."""


class Logger(Protocol):
    """A structlog logger."""

    def log(self, level: int, event: str, **fields: Any) -> Any:  # noqa: ANN401 - structlog's
        """Write one event."""


def tell(log: Logger, event: Event, **fields: Any) -> None:  # noqa: ANN401 - any field
    """Write one event to the log, at the level of the catalogue."""
    log.log(NUMBERS[event.level], event, **fields)


def is_pruned(history: Sequence[str]) -> bool:
    """Return whether the beginning of a voice's history, oldest first, was deleted."""
    return not history or history[0] != Event.VOICE_REGISTERED


def level_of_change(status: Status) -> Level:
    """Return the level of ``voice.status_changed`` for a new status.

    ``LOST`` is a warning only, because ``voice.lost`` beside it is the error.
    """
    return Event.VOICE_STATUS_CHANGED.level if status in LIVING else "warning"
