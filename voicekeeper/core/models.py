"""The tables of the registry; the words their columns may hold stand in `enums`.

Plain records: what a state change means stands in the rules, and how rows are read and written
stands in ``store``. SQLModel does not validate a table's values on construction, so the
database does: enums, signs and references are constraints. Every instant is aware and in UTC.
Keys of voices and tasks are never used again, so that a late answer finds its own row or none.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from voicekeeper.core.enums import AlertKind, Kind, Origin, Status, TaskState, Topic

__all__ = [
    "Active",
    "Alert",
    "AlertKind",
    "Balance",
    "Breaker",
    "HistoryEntry",
    "Kind",
    "LedgerEntry",
    "Message",
    "Origin",
    "Removal",
    "Standby",
    "Status",
    "Tally",
    "Task",
    "TaskState",
    "Topic",
    "Voice",
]


def _words(enum: type[StrEnum], name: str) -> sa.Enum:
    """Return a text column type that a CHECK holds to the enum's values."""
    return sa.Enum(
        enum,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


def _whole() -> sa.Integer:
    """Return the type of a whole number that grows for years; SQLite's are of any size."""
    return sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def _where(condition: str) -> dict[str, Any]:
    """Return what makes an index partial; that of PostgreSQL is in the migrations alone.

    To name it here too would import SQLAlchemy's side of PostgreSQL, for which commands would wait.
    """
    return {"sqlite_where": sa.text(condition)}


def _json() -> sa.JSON:
    """Return a JSON column type that stores None as NULL."""
    return sa.JSON(none_as_null=True)


class Voice(SQLModel, table=True):
    """One custom voice.

    Attributes:
        name: local, unique, never changes.
        voice_id: the gateway's; None until an enrollment shows it; changes with a new one.
        recipe: what a new enrollment would need: ``prefix`` and ``audio_url``, or ``prefix``,
            ``prompt`` and ``preview_text``.
        last_used_at: the last use that is known to have ended in success.
        enrolled_at: when the gateway accepted the enrollment that made ``voice_id``.
        anchored_at: what urgency is reckoned from: the last use, else the enrollment, else an
            assumption that errs towards hurry.
        next_at: when its next keepalive, or the next try of its enrollment, is due; None when
            there is nothing to do.
        failures: failed attempts in a row.
        suspected_at: when the first of a run of answers blamed the voice itself.
        controlled_at: when a control call sent after ``suspected_at`` succeeded.
        held_at: since when the day's budget has held the enrollment back.
        remade_at: when it was asked to be made again after it had a voice_id; a design is not
            the same voice since.
    """

    __tablename__ = "voice"
    __table_args__ = (
        sa.UniqueConstraint("name", name="voice_name_is_unique"),
        sa.UniqueConstraint("model", "voice_id", name="voice_id_is_unique"),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 64", name="voice_name_length"),
        sa.CheckConstraint("failures >= 0", name="voice_failures_sign"),
        sa.CheckConstraint("status <> 'OK' OR voice_id IS NOT NULL", name="voice_ok_has_id"),
        sa.Index("voice_by_next_at", "next_at"),
        # Of those that are kept: the ones that are gone only grow more, and older.
        sa.Index("voice_by_anchor", "anchored_at", **_where("next_at IS NOT NULL")),
        sa.Index(
            "voice_suspected",
            "model",
            **_where("suspected_at IS NOT NULL AND controlled_at IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_whole())
    name: str
    model: str
    voice_id: str | None = None
    origin: Origin = Field(sa_type=_words(Origin, "voice_origin"))
    status: Status = Field(sa_type=_words(Status, "voice_status"))
    paused: bool = False
    recipe: dict[str, str] | None = Field(default=None, sa_type=_json())
    created_at: datetime
    last_used_at: datetime | None = None
    enrolled_at: datetime | None = None
    anchored_at: datetime
    next_at: datetime | None = None
    failures: int = 0
    last_error: str | None = None
    suspected_at: datetime | None = None
    controlled_at: datetime | None = None
    held_at: datetime | None = None
    remade_at: datetime | None = None


class Task(SQLModel, table=True):
    """One call that costs money, written down before it is made.

    Attributes:
        voice_pk: the voice it is for; None for a control call of a whole model.
        spoken: the voice id a speech call speaks with.
        task_id: the gateway's; None until it answers.
        token_digest: of the token in the address that the gateway is to call when the task has
            ended; None where it is only asked, and once it has called.
        sent_at: just before the POST, by the host's clock.
        created_at: the gateway's ``createTime``.
        next_poll_at: when to ask ``statusTask`` next; None when the task is not running, but of
            an intent whose webhook came before the answer to its POST.
        polls: how often ``statusTask`` was asked.
        code: the HTTP status or fail code it ended with, or words of ours such as
            ``no answer``, when it did not succeed.
        cost_micros: millionths of a US dollar by the page's prices; None if nothing was accepted.
        possible_cost_micros: the same of a call that may have been accepted, from its intent on;
            None as soon as it is known whether it was.
    """

    __tablename__ = "task"
    __table_args__ = (
        sa.CheckConstraint("polls >= 0", name="task_polls_sign"),
        sa.CheckConstraint(
            "state <> 'running' OR (task_id IS NOT NULL AND next_poll_at IS NOT NULL)",
            name="task_running_is_polled",
        ),
        sa.Index("task_by_voice", "voice_pk", "id"),
        sa.Index("task_open", "state", **_where("state IN ('intent', 'running')")),
        sa.Index("task_open_of_voice", "voice_pk", **_where("state IN ('intent', 'running')")),
        sa.Index("task_by_next_poll", "next_poll_at", **_where("state = 'running'")),
        sa.Index(
            "task_by_token",
            "token_digest",
            unique=True,
            **_where("token_digest IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_whole())
    voice_pk: int | None = Field(
        default=None, sa_column=sa.Column(_whole(), sa.ForeignKey("voice.id", ondelete="CASCADE"))
    )
    model: str
    kind: Kind = Field(sa_type=_words(Kind, "task_kind"))
    state: TaskState = Field(sa_type=_words(TaskState, "task_state"))
    spoken: str | None = None
    task_id: str | None = None
    token_digest: str | None = None
    sent_at: datetime
    created_at: datetime | None = None
    finished_at: datetime | None = None
    next_poll_at: datetime | None = None
    polls: int = 0
    code: str | None = None
    message: str | None = None
    cost_micros: int | None = Field(default=None, sa_type=_whole())
    possible_cost_micros: int | None = Field(default=None, sa_type=_whole())


class LedgerEntry(SQLModel, table=True):
    """What the tasks of one kind that were sent on one day should have cost.

    The sum of the tasks' rows, kept apart from them: it stays when a voice is removed, and is
    short to read after years.

    Attributes:
        day: in UTC, of the tasks' ``sent_at``.
        cost_micros: of the tasks that were accepted, in millionths of a US dollar.
        possible_cost_micros: of those that may have been accepted.
    """

    __tablename__ = "ledger"
    __table_args__ = (
        sa.CheckConstraint("cost_micros >= 0 AND possible_cost_micros >= 0", name="ledger_signs"),
    )

    day: date = Field(primary_key=True)
    kind: Kind = Field(sa_type=_words(Kind, "ledger_kind"), primary_key=True)
    cost_micros: int = Field(default=0, sa_type=_whole())
    possible_cost_micros: int = Field(default=0, sa_type=_whole())


class Tally(SQLModel, table=True):
    """How many tasks of one kind ended in one state, ever; kept when a voice is removed."""

    __tablename__ = "tally"
    __table_args__ = (sa.CheckConstraint("ended >= 0", name="tally_sign"),)

    kind: Kind = Field(sa_type=_words(Kind, "tally_kind"), primary_key=True)
    state: TaskState = Field(sa_type=_words(TaskState, "tally_state"), primary_key=True)
    ended: int = Field(default=0, sa_type=_whole())


class Balance(SQLModel, table=True):
    """What the account held when a keeper last asked; one row at most.

    Attributes:
        micros: millionths of a US dollar; below 0 where it is overdrawn.
        told_at: when the gateway told it.
    """

    __tablename__ = "balance"
    __table_args__ = (sa.CheckConstraint("id = 1", name="balance_is_one"),)

    id: int = Field(default=1, primary_key=True, sa_type=_whole())
    micros: int = Field(sa_type=_whole())
    told_at: datetime


class HistoryEntry(SQLModel, table=True):
    """One event in a voice's life, committed together with the change it tells.

    Attributes:
        event: the log's name of it, ``noun.past_participle``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        detail: the event's further fields.
        logged: False for what a command wrote, until a keeper has told the log.
    """

    __tablename__ = "history"
    __table_args__ = (
        sa.Index("history_by_voice", "voice_pk", "id"),
        sa.Index("history_unlogged", "id", **_where("logged = 0")),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_whole())
    voice_pk: int = Field(
        sa_column=sa.Column(_whole(), sa.ForeignKey("voice.id", ondelete="CASCADE"), nullable=False)
    )
    at: datetime
    event: str
    level: str
    detail: dict[str, Any] | None = Field(default=None, sa_type=_json())
    logged: bool = True


class Past(SQLModel, table=True):
    """What the calls of one voice cost whose rows were pruned.

    Attributes:
        cost_micros, possible_cost_micros: the sums of their `Task` columns.
    """

    __tablename__ = "past"
    __table_args__ = (
        sa.CheckConstraint("cost_micros >= 0 AND possible_cost_micros >= 0", name="past_signs"),
    )

    voice_pk: int = Field(
        sa_column=sa.Column(
            _whole(),
            sa.ForeignKey("voice.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        )
    )
    cost_micros: int = Field(default=0, sa_type=_whole())
    possible_cost_micros: int = Field(default=0, sa_type=_whole())


class Removal(SQLModel, table=True):
    """A voice that a person forgot, its history with it, until a keeper has told the log.

    Attributes:
        name, voice_id, status: what the voice was.
    """

    __tablename__ = "removal"

    id: int | None = Field(default=None, primary_key=True, sa_type=_whole())
    name: str
    voice_id: str | None = None
    status: str = Field(sa_type=sa.String(16))
    at: datetime


class Breaker(SQLModel, table=True):
    """The circuit breaker of one model's route: whether calls are paused, and until when.

    Attributes:
        run: failures in a row that were not a voice's fault, a voice counted once in turn.
        last_voice_pk: whose call was the last of the run.
        opened_at: when calls were paused; None while they flow.
        cause: the code and words of the failure that opened it.
        probes: control calls in a row that did not succeed, counted anew when it opens.
        probe_at: when the next control call may be made.
        judged_at: when ``probe_at`` was set.
        distrusted: whether it opened because the gateway knew none of our voices, so that only
            one of them can close it.
    """

    __tablename__ = "breaker"
    __table_args__ = (sa.CheckConstraint("run >= 0 AND probes >= 0", name="breaker_signs"),)

    model: str = Field(primary_key=True)
    run: int = 0
    last_voice_pk: int | None = Field(default=None, sa_type=_whole())
    opened_at: datetime | None = None
    cause: str | None = None
    probes: int = 0
    probe_at: datetime | None = None
    judged_at: datetime | None = None
    distrusted: bool = False


class Alert(SQLModel, table=True):
    """One thing that a person must know of: told at once, and daily until it has ended.

    Of a kind, at most one is open for a voice, and for a model where it concerns no voice.

    Attributes:
        voice_pk: the voice it is about; None for one about all calls of ``model``.
        level: how loud it is, ``warning`` or ``error``; a risk that grows gets louder.
        cause: one sentence; what one fault did to many voices has one cause.
        since: when the condition began, by the host's clock.
        told: how often it was handed out to be told, its end counted too.
        tell_at: when it is to be told next: the due time, or the lease of who is telling it;
            None when nothing is to be told any more.
        ended_at: when the condition was over; None while it holds.
        send_at: from when on the next message is to hold it; None while it was not told yet, and
            when none is to hold it any more.
        sent_at: when a message last held it; None if none did, or not as loud.
    """

    __tablename__ = "alert"
    __table_args__ = (
        sa.CheckConstraint("level IN ('info', 'warning', 'error')", name="alert_level"),
        sa.CheckConstraint("told >= 0", name="alert_told_sign"),
        sa.CheckConstraint("(kind = 'blocked') = (voice_pk IS NULL)", name="alert_subject"),
        sa.CheckConstraint("ended_at IS NOT NULL OR tell_at IS NOT NULL", name="alert_is_told"),
        sa.Index(
            "alert_open_of_voice",
            "voice_pk",
            "kind",
            unique=True,
            **_where("ended_at IS NULL AND voice_pk IS NOT NULL"),
        ),
        sa.Index(
            "alert_open_of_model",
            "model",
            unique=True,
            **_where("ended_at IS NULL AND voice_pk IS NULL"),
        ),
        sa.Index("alert_by_tell_at", "tell_at", **_where("tell_at IS NOT NULL")),
        sa.Index("alert_by_send_at", "send_at", **_where("send_at IS NOT NULL")),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_whole())
    kind: AlertKind = Field(sa_type=_words(AlertKind, "alert_kind"))
    voice_pk: int | None = Field(
        default=None, sa_column=sa.Column(_whole(), sa.ForeignKey("voice.id", ondelete="CASCADE"))
    )
    model: str
    level: str
    cause: str
    since: datetime
    told: int = 0
    tell_at: datetime | None = None
    ended_at: datetime | None = None
    send_at: datetime | None = None
    sent_at: datetime | None = None


class Message(SQLModel, table=True):
    """One message to people at one address; these rows are the outbox.

    Made in the transaction that notes in its alerts that they are sent; kept for a while after.

    Attributes:
        topic: what it is about; of one topic an address gets the messages in their order.
        place: the place of its address among ``alerts.urls``, from 0 on. The address itself is
            a secret and stands in no row.
        level: ``info``, ``warning`` or ``error``.
        tries: how often it was handed out to be sent.
        send_at: when it is to be sent: the due time, or the lease of who is sending it; None
            when it arrived or was given up.
        sent_at: when it arrived.
    """

    __tablename__ = "message"
    __table_args__ = (
        sa.CheckConstraint("level IN ('info', 'warning', 'error')", name="message_level"),
        sa.CheckConstraint("place >= 0 AND tries >= 0", name="message_signs"),
        sa.CheckConstraint("send_at IS NULL OR sent_at IS NULL", name="message_is_sent_once"),
        sa.Index("message_to_send", "place", **_where("send_at IS NOT NULL")),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_whole())
    topic: Topic = Field(sa_type=_words(Topic, "message_topic"))
    place: int
    level: str
    title: str
    body: str
    made_at: datetime
    tries: int = 0
    send_at: datetime | None = None
    sent_at: datetime | None = None


class Active(SQLModel, table=True):
    """The active keeper: the one row that each transaction which writes an intent begins with.

    Attributes:
        epoch: counts the keepers that took over; who holds another one is deposed.
        keeper: ``PID@HOST``; None before the first.
        version: of voicekeeper.
        once: whether it is ``run --once``, which a timer starts again.
        started_at: when it took over.
        last_pass_at: when its last pass ended, by the host's clock.
        beat: its last sign of life, by the server's clock where there is one; None once it has
            ended, so that another may take over at once.
        interval_s, window_s: the keepalive interval and the window that due times are reckoned
            by, in seconds; 0 where nobody noted them.
        server: which server and tables had the registry when it took over; None where a file
            has it.
    """

    __tablename__ = "active"
    __table_args__ = (sa.CheckConstraint("id = 1", name="active_is_one"),)

    id: int = Field(default=1, primary_key=True, sa_type=_whole())
    epoch: int = Field(default=0, sa_type=_whole())
    keeper: str | None = None
    version: str | None = None
    once: bool = False
    started_at: datetime | None = None
    last_pass_at: datetime | None = None
    beat: datetime | None = None
    interval_s: float = 0
    window_s: float = 0
    server: str | None = None


class Standby(SQLModel, table=True):
    """A keeper that stands by, ready to take over from the active one.

    Attributes:
        keeper: ``PID@HOST``.
        version: of voicekeeper.
        since: when it began to stand by, by its host's clock.
        seen_at: its last sign of life, by the server's clock.
    """

    __tablename__ = "standby"

    keeper: str = Field(primary_key=True)
    version: str
    since: datetime
    seen_at: datetime
