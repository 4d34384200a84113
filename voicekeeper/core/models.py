"""The tables of the registry; the words their columns may hold stand in `enums`.

SQLModel does not validate a table's values on construction, so the database does: enums, signs
and references are constraints. Every instant is aware and in UTC. Keys of voices and tasks are
never used again, so that a late answer finds its own row or none.
"""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from voicekeeper.core.enums import AlertKind, Kind, Origin, Status, TaskState, Topic

__all__ = ["AlertKind", "Kind", "Origin", "Status", "TaskState", "Topic"]  # beside the tables

_WHOLE: Final = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
"""A whole number that grows for years; SQLite's are of any size."""


class _Count(sa.TypeDecorator[int]):
    """A whole number that rules reckon with: SQLite keeps any value in a column of numbers."""

    impl = sa.Integer
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> int | None:  # noqa: ANN401, ARG002 - the library's
        """Refuse to read what is no whole number."""
        if value is None or isinstance(value, int | Decimal):  # a server's sum is a Decimal
            return None if value is None else int(value)
        raise ValueError(f"{value!r} is not a whole number")


_LARGE: Final = _Count().with_variant(sa.BigInteger(), "postgresql")
_JSON: Final = sa.JSON(none_as_null=True)
_SIGNS: Final = "cost_micros >= 0 AND possible_cost_micros >= 0"


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


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """Return a partial index; PostgreSQL's condition, a slow import, is in the migrations alone."""
    return sa.Index(name, *columns, unique=unique, sqlite_where=sa.text(where))


def _voice_pk(**options: Any) -> sa.Column[int]:  # noqa: ANN401 - SQLAlchemy's
    """Return a column that refers to a voice, whose rows go with it."""
    return sa.Column(_WHOLE, sa.ForeignKey("voice.id", ondelete="CASCADE"), **options)


class _Row(SQLModel):
    model_config = {"defer_build": True}  # validators that a table never runs cost each start


class Voice(_Row, table=True):
    """One custom voice.

    Attributes:
        recipe: the fields of its enrollment (`requests.Clone`, `requests.Design`).
        last_used_at: the last use that is known to have ended in success.
        enrolled_at: when the gateway accepted the enrollment that made ``voice_id``.
        anchored_at: the deadline counts from it: the last use, else the enrollment, else an
            assumption that errs towards hurry.
        next_at: when its next keepalive, or the next try of its enrollment, is due, if any.
        suspected_at: when the first of a run of answers named the voice as the culprit.
        controlled_at: when a control call sent after ``suspected_at`` succeeded.
        held_at: since when the budget has held the enrollment back.
        remade_at: when a retry replaced its voice_id; a design sounds different since.
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
        _partial("voice_by_anchor", "anchored_at", where="next_at IS NOT NULL"),
        _partial(
            "voice_suspected", "model", where="suspected_at IS NOT NULL AND controlled_at IS NULL"
        ),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_WHOLE)
    name: str
    model: str
    voice_id: str | None = None
    origin: Origin = Field(sa_type=_words(Origin, "voice_origin"))
    status: Status = Field(sa_type=_words(Status, "voice_status"))
    paused: bool = False
    recipe: dict[str, str] | None = Field(default=None, sa_type=_JSON)
    created_at: datetime
    last_used_at: datetime | None = None
    enrolled_at: datetime | None = None
    anchored_at: datetime
    next_at: datetime | None = None
    failures: int = Field(default=0, sa_type=_Count)
    last_error: str | None = None
    suspected_at: datetime | None = None
    controlled_at: datetime | None = None
    held_at: datetime | None = None
    remade_at: datetime | None = None


class Task(_Row, table=True):
    """One paid call, written down before it is made.

    Attributes:
        voice_pk: the voice it is for; None for a control call.
        spoken: the voice_id that a speech task speaks with.
        token_digest: of the token in its webhook's address, until the webhook has come.
        sent_at: just before the POST, by the host's clock.
        created_at: the gateway's ``createTime``.
        next_poll_at: of a running task; or of an intent whose webhook was faster than the answer.
        code: of its failure: the HTTP status, the fail code, or our words such as ``no answer``.
        cost_micros: millionths of a US dollar by the page's prices; None if nothing was accepted.
        possible_cost_micros: the same of a call that may have been accepted, from its intent on.
    """

    __tablename__ = "task"
    __table_args__ = (
        sa.CheckConstraint("polls >= 0", name="task_polls_sign"),
        sa.CheckConstraint(
            "state <> 'running' OR (task_id IS NOT NULL AND next_poll_at IS NOT NULL)",
            name="task_running_is_polled",
        ),
        sa.Index("task_by_voice", "voice_pk", "id"),
        _partial("task_open", "state", where="state IN ('intent', 'running')"),
        _partial("task_open_of_voice", "voice_pk", where="state IN ('intent', 'running')"),
        _partial("task_by_next_poll", "next_poll_at", where="state = 'running'"),
        _partial("task_by_token", "token_digest", where="token_digest IS NOT NULL", unique=True),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_WHOLE)
    voice_pk: int | None = Field(default=None, sa_column=_voice_pk())
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
    polls: int = Field(default=0, sa_type=_Count)
    code: str | None = None
    message: str | None = None
    cost_micros: int | None = Field(default=None, sa_type=_LARGE)
    possible_cost_micros: int | None = Field(default=None, sa_type=_LARGE)


class LedgerEntry(_Row, table=True):
    """The cost of the tasks of one kind sent on one UTC day; it outlives their rows."""

    __tablename__ = "ledger"
    __table_args__ = (sa.CheckConstraint(_SIGNS, name="ledger_signs"),)

    day: date = Field(primary_key=True)
    kind: Kind = Field(sa_type=_words(Kind, "ledger_kind"), primary_key=True)
    cost_micros: int = Field(default=0, sa_type=_WHOLE)
    possible_cost_micros: int = Field(default=0, sa_type=_WHOLE)


class Tally(_Row, table=True):
    """How many tasks of one kind ended in one state, ever; it outlives their rows."""

    __tablename__ = "tally"
    __table_args__ = (sa.CheckConstraint("ended >= 0", name="tally_sign"),)

    kind: Kind = Field(sa_type=_words(Kind, "tally_kind"), primary_key=True)
    state: TaskState = Field(sa_type=_words(TaskState, "tally_state"), primary_key=True)
    ended: int = Field(default=0, sa_type=_WHOLE)


class Balance(_Row, table=True):
    """The account's balance, below 0 where it is overdrawn; one row at most."""

    __tablename__ = "balance"
    __table_args__ = (sa.CheckConstraint("id = 1", name="balance_is_one"),)

    id: int = Field(default=1, primary_key=True, sa_type=_WHOLE)
    micros: int = Field(sa_type=_WHOLE)
    told_at: datetime


class HistoryEntry(_Row, table=True):
    """One event in a voice's life, committed together with its cause.

    One of a command is not ``logged`` until a keeper has done so.
    """

    __tablename__ = "history"
    __table_args__ = (
        sa.Index("history_by_voice", "voice_pk", "id"),
        _partial("history_unlogged", "id", where="logged = 0"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_WHOLE)
    voice_pk: int = Field(sa_column=_voice_pk(nullable=False))
    at: datetime
    event: str
    level: str
    detail: dict[str, Any] | None = Field(default=None, sa_type=_JSON)
    logged: bool = True


class Past(_Row, table=True):
    """The cost of one voice's tasks whose rows were pruned: the sums of their columns."""

    __tablename__ = "past"
    __table_args__ = (sa.CheckConstraint(_SIGNS, name="past_signs"),)

    voice_pk: int = Field(sa_column=_voice_pk(primary_key=True, autoincrement=False))
    cost_micros: int = Field(default=0, sa_type=_WHOLE)
    possible_cost_micros: int = Field(default=0, sa_type=_WHOLE)


class Removal(_Row, table=True):
    """A removed voice, as it was, until a keeper has logged it."""

    __tablename__ = "removal"

    id: int | None = Field(default=None, primary_key=True, sa_type=_WHOLE)
    name: str
    voice_id: str | None = None
    status: str = Field(sa_type=sa.String(16))
    at: datetime


class Breaker(_Row, table=True):
    """The circuit breaker of one model.

    Attributes:
        run: failures in a row that were not a voice's fault, a voice counted once in turn.
        last_voice_pk: whose call was the last of the run.
        opened_at: when calls were paused; None while it is closed.
        probes: control calls in a row that did not succeed, counted anew when it opens.
        probe_at: when the next control call may be made.
        judged_at: when ``probe_at`` was set.
        distrusted: whether it opened because the gateway knew none of our voices, so that only
            one of them can close it.
    """

    __tablename__ = "breaker"
    __table_args__ = (sa.CheckConstraint("run >= 0 AND probes >= 0", name="breaker_signs"),)

    model: str = Field(primary_key=True)
    run: int = Field(default=0, sa_type=_Count)
    last_voice_pk: int | None = Field(default=None, sa_type=_LARGE)
    opened_at: datetime | None = None
    cause: str | None = None
    probes: int = Field(default=0, sa_type=_Count)
    probe_at: datetime | None = None
    judged_at: datetime | None = None
    distrusted: bool = False


class Alert(_Row, table=True):
    """A condition that a person must know: announced at once, and daily until it has ended.

    Of a kind, at most one is open for a voice, and for a model where it concerns no voice.

    Attributes:
        cause: one sentence; one fault of many voices has one cause.
        told: how often it was announced, its end counted too.
        tell_at: when it is announced next, if ever.
        ended_at: when the condition was over; None while it holds.
        send_at: from when on the next message holds it; None before it is first announced, and
            when no message is to hold it any more.
        sent_at: when a message last held it; None if none did, or not as loud.
    """

    __tablename__ = "alert"
    __table_args__ = (
        sa.CheckConstraint("level IN ('info', 'warning', 'error')", name="alert_level"),
        sa.CheckConstraint("told >= 0", name="alert_told_sign"),
        sa.CheckConstraint("(kind = 'blocked') = (voice_pk IS NULL)", name="alert_subject"),
        sa.CheckConstraint("ended_at IS NOT NULL OR tell_at IS NOT NULL", name="alert_is_told"),
        _partial(
            "alert_open_of_voice",
            "voice_pk",
            "kind",
            where="ended_at IS NULL AND voice_pk IS NOT NULL",
            unique=True,
        ),
        _partial(
            "alert_open_of_model",
            "model",
            where="ended_at IS NULL AND voice_pk IS NULL",
            unique=True,
        ),
        _partial("alert_by_tell_at", "tell_at", where="tell_at IS NOT NULL"),
        _partial("alert_by_send_at", "send_at", where="send_at IS NOT NULL"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_WHOLE)
    kind: AlertKind = Field(sa_type=_words(AlertKind, "alert_kind"))
    voice_pk: int | None = Field(default=None, sa_column=_voice_pk())
    model: str
    level: str
    cause: str
    since: datetime
    told: int = Field(default=0, sa_type=_Count)
    tell_at: datetime | None = None
    ended_at: datetime | None = None
    send_at: datetime | None = None
    sent_at: datetime | None = None


class Message(_Row, table=True):
    """One message to people at one address; these rows are the outbox.

    Made in the transaction that notes in its alerts that they are sent; kept for a while after.

    Attributes:
        place: the index of its address in ``alerts.urls``. The address is a secret: in no row.
        tries: how often it was sent, arrived or not.
        sent_at: when it arrived.
    """

    __tablename__ = "message"
    __table_args__ = (
        sa.CheckConstraint("level IN ('info', 'warning', 'error')", name="message_level"),
        sa.CheckConstraint("place >= 0 AND tries >= 0", name="message_signs"),
        sa.CheckConstraint("send_at IS NULL OR sent_at IS NULL", name="message_is_sent_once"),
        _partial("message_to_send", "place", where="send_at IS NOT NULL"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_WHOLE)
    topic: Topic = Field(sa_type=_words(Topic, "message_topic"))
    place: int
    level: str
    title: str
    body: str
    made_at: datetime
    tries: int = Field(default=0, sa_type=_Count)
    send_at: datetime | None = None
    sent_at: datetime | None = None


class Active(_Row, table=True):
    """The active keeper: every transaction that writes an intent begins with this one row.

    Attributes:
        epoch: counts the keepers that took over; who holds another one is deposed.
        keeper: ``PID@HOST``.
        once: whether it is ``run --once``, which a timer starts again.
        beat: its last sign of life, by the server's clock where there is one; None once it has
            ended, so that another may take over at once.
        interval_s, window_s: the settings that due times were computed with; 0 where unknown.
        server: the identity of the server and its tables; None on SQLite.
    """

    __tablename__ = "active"
    __table_args__ = (sa.CheckConstraint("id = 1", name="active_is_one"),)

    id: int = Field(default=1, primary_key=True, sa_type=_WHOLE)
    epoch: int = Field(default=0, sa_type=_WHOLE)
    keeper: str | None = None
    version: str | None = None
    once: bool = False
    started_at: datetime | None = None
    last_pass_at: datetime | None = None
    beat: datetime | None = None
    interval_s: float = 0
    window_s: float = 0
    server: str | None = None


class Standby(_Row, table=True):
    """A keeper that stands by; ``seen_at`` is by the server's clock, ``since`` by its host's."""

    __tablename__ = "standby"

    keeper: str = Field(primary_key=True)
    version: str
    since: datetime
    seen_at: datetime
