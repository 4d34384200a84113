"""The catalogue of the log: every event, its level, and its meaning.

One name is used in the log, in a voice's history and in the docs, so that a search for it finds
all three. Names are ``noun.past_participle``. Levels: an ``error`` wakes a person, a ``warning``
may, a voice's ordinary life is ``info``, polling is ``debug``.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, Protocol

from voicekeeper.core.enums import LIVING, Status

Level = Literal["debug", "info", "warning", "error"]


class Event(StrEnum):
    """A kind of line, by its name."""

    VOICE_REGISTERED = "voice.registered"
    VOICE_STATUS_CHANGED = "voice.status_changed"
    VOICE_LOST = "voice.lost"
    VOICE_UNDEPLOYED = "voice.undeployed"
    VOICE_AT_RISK = "voice.at_risk"
    VOICE_RECOVERED = "voice.recovered"
    VOICE_TOUCHED = "voice.touched"
    VOICE_PAUSED = "voice.paused"
    VOICE_RESUMED = "voice.resumed"
    VOICE_HASTENED = "voice.hastened"
    VOICE_RETRIED = "voice.retried"
    VOICE_REMOVED = "voice.removed"
    KEEPALIVE_SUBMITTED = "keepalive.submitted"
    KEEPALIVE_SUCCEEDED = "keepalive.succeeded"
    KEEPALIVE_FAILED = "keepalive.failed"
    ENROLLMENT_SUBMITTED = "enrollment.submitted"
    ENROLLMENT_SUCCEEDED = "enrollment.succeeded"
    ENROLLMENT_FAILED = "enrollment.failed"
    ENROLLMENT_HELD = "enrollment.held"
    CONTROL_SUBMITTED = "control.submitted"
    CONTROL_SUCCEEDED = "control.succeeded"
    CONTROL_FAILED = "control.failed"
    TASK_POLLED = "task.polled"
    BALANCE_ASKED = "balance.asked"
    UPSTREAM_BLOCKED = "upstream.blocked"
    UPSTREAM_RECOVERED = "upstream.recovered"
    BACKUP_COMPLETED = "backup.completed"
    BACKUP_FAILED = "backup.failed"
    REGISTRY_CREATED = "registry.created"
    REGISTRY_SHARED = "registry.shared"
    HISTORY_PRUNED = "history.pruned"
    CLOCK_JUMPED = "clock.jumped"
    LOG_DROPPED = "log.dropped"
    LISTENER_OPENED = "listener.opened"
    LISTENER_FAILED = "listener.failed"
    SETTINGS_RELOADED = "settings.reloaded"
    SETTINGS_REFUSED = "settings.refused"
    MESSAGE_SENT = "message.sent"
    MESSAGE_FAILED = "message.failed"
    MESSAGE_DROPPED = "message.dropped"
    HEARTBEAT_FAILED = "heartbeat.failed"
    DAEMON_READY = "daemon.ready"
    DAEMON_STANDBY = "daemon.standby"
    DAEMON_STOPPED = "daemon.stopped"
    PASS_FAILED = "pass.failed"  # noqa: S105 - a pass, not a password


class Meaning(NamedTuple):
    """The level of an event, and one sentence for the docs.

    The level of a status change is `level_of_change`, that of a risk `alerting.level`.
    """

    level: Level
    text: str


MEANINGS: Final[dict[Event, Meaning]] = {
    Event.VOICE_REGISTERED: Meaning("info", "A voice was added, imported, or is to be made."),
    Event.VOICE_STATUS_CHANGED: Meaning(
        "info", "A voice's status changed; a warning when it became one that does not speak."
    ),
    Event.VOICE_LOST: Meaning(
        "error", "The gateway no longer knows the voice, and the account is not to blame."
    ),
    Event.VOICE_UNDEPLOYED: Meaning("warning", "The gateway's review took the voice away."),
    Event.VOICE_AT_RISK: Meaning(
        "warning",
        "No keepalive succeeds, and under 48 h of seven days are left; an error under 12 h.",
    ),
    Event.VOICE_RECOVERED: Meaning(
        "info", "A voice that was told lost, undeployed or at risk speaks again."
    ),
    Event.VOICE_TOUCHED: Meaning("info", "A person recorded a use of the voice made elsewhere."),
    Event.VOICE_PAUSED: Meaning("info", "A person stopped the keeping of the voice."),
    Event.VOICE_RESUMED: Meaning("info", "A person started the keeping of the voice again."),
    Event.VOICE_HASTENED: Meaning("info", "A person asked for a keepalive at once."),
    Event.VOICE_RETRIED: Meaning("info", "A person asked for the enrollment to be repeated."),
    Event.VOICE_REMOVED: Meaning("info", "A person had the voice and its history forgotten."),
    Event.KEEPALIVE_SUBMITTED: Meaning("info", "The gateway accepted a keepalive."),
    Event.KEEPALIVE_SUCCEEDED: Meaning("info", "A keepalive ended in success: the voice is used."),
    Event.KEEPALIVE_FAILED: Meaning(
        "warning", "A keepalive failed; its `retry_at` is when the next is due."
    ),
    Event.ENROLLMENT_SUBMITTED: Meaning("info", "The gateway accepted a clone or design task."),
    Event.ENROLLMENT_SUCCEEDED: Meaning("info", "A clone or design task made a voice."),
    Event.ENROLLMENT_FAILED: Meaning("warning", "A clone or design task made no voice."),
    Event.ENROLLMENT_HELD: Meaning(
        "warning", "The day's budget holds a clone or design back; its `until` is when it goes on."
    ),
    Event.CONTROL_SUBMITTED: Meaning(
        "info", "The gateway accepted a speech call that tests the account, not a voice."
    ),
    Event.CONTROL_SUCCEEDED: Meaning(
        "info", "The control call succeeded: the account works; told of each suspected voice too."
    ),
    Event.CONTROL_FAILED: Meaning("warning", "The control call failed: no voice is to blame."),
    Event.TASK_POLLED: Meaning("debug", "The gateway was asked how a task stands."),
    Event.BALANCE_ASKED: Meaning("debug", "The gateway was asked what the account holds."),
    Event.UPSTREAM_BLOCKED: Meaning(
        "error", "The account or the gateway fails: all calls pause but a probe."
    ),
    Event.UPSTREAM_RECOVERED: Meaning("info", "A probe succeeded: calls flow again."),
    Event.BACKUP_COMPLETED: Meaning("info", "The day's copy of the registry was made."),
    Event.BACKUP_FAILED: Meaning(
        "warning",
        "The day's copy of the registry could not be made; it is tried again hourly.",
    ),
    Event.REGISTRY_CREATED: Meaning(
        "warning",
        "The daemon found no registry and made an empty one, as where the address is mistyped.",
    ),
    Event.REGISTRY_SHARED: Meaning(
        "warning", "Another program has the registry's file open in WAL mode; it is used as it is."
    ),
    Event.HISTORY_PRUNED: Meaning(
        "info",
        "What happened longer ago than is kept was deleted: so many events, calls and alerts.",
    ),
    Event.CLOCK_JUMPED: Meaning("warning", "The host's clock was set, or the host was suspended."),
    Event.LOG_DROPPED: Meaning(
        "warning", "So many `lines` of the log were dropped, because nobody read it."
    ),
    Event.LISTENER_OPENED: Meaning("info", "The daemon listens on one of its ports."),
    Event.LISTENER_FAILED: Meaning(
        "warning",
        "A port, or the socket for reloads, cannot be had; voices are kept all the same, and a "
        "port is tried again.",
    ),
    Event.SETTINGS_RELOADED: Meaning(
        "info",
        "The settings were read anew and are in force; `changed` names what differs.",
    ),
    Event.SETTINGS_REFUSED: Meaning(
        "warning", "The settings were read anew and cannot be used: the old ones stay in force."
    ),
    Event.MESSAGE_SENT: Meaning("info", "A message to people arrived at an address."),
    Event.MESSAGE_FAILED: Meaning(
        "warning", "A message did not arrive; it is tried again, and told once until it does."
    ),
    Event.MESSAGE_DROPPED: Meaning(
        "warning",
        "A message that did not arrive for a week, or a day and a newer came, is given up.",
    ),
    Event.HEARTBEAT_FAILED: Meaning(
        "warning", "The dead man's switch could not be pinged; told once until it can."
    ),
    Event.DAEMON_READY: Meaning("info", "The daemon has started and recovered what was open."),
    Event.DAEMON_STANDBY: Meaning(
        "info", "The daemon waits to take over; `keeper` is the active one, which works."
    ),
    Event.DAEMON_STOPPED: Meaning("info", "The daemon has stopped; open tasks wait in the rows."),
    Event.PASS_FAILED: Meaning("error", "A pass ended in an error of the program itself."),
}


NUMBERS: Final[dict[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""The standard logger's number of each level."""


class Logger(Protocol):
    """A structlog logger."""

    def log(self, level: int, event: str, **fields: Any) -> Any:  # noqa: ANN401 - structlog's
        """Write one event."""


def tell(log: Logger, event: Event, **fields: Any) -> None:  # noqa: ANN401 - any field
    """Write one event to the log, at the level of the catalogue."""
    log.log(NUMBERS[MEANINGS[event].level], event, **fields)


def is_pruned(history: Sequence[str]) -> bool:
    """Return whether the beginning of a voice's history, oldest first, was deleted."""
    return not history or history[0] != Event.VOICE_REGISTERED


def level_of_change(status: Status) -> Level:
    """Return the level of ``voice.status_changed`` for a new status.

    ``LOST`` is a warning only, because ``voice.lost`` beside it is the error.
    """
    return MEANINGS[Event.VOICE_STATUS_CHANGED].level if status in LIVING else "warning"
