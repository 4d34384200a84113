"""The registry: voices, their tasks and history, money, breakers, alerts, messages, keepers.

The first schema that this version upgrades; an older registry is refused.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = None

_STATUSES = "'NEW', 'DEPLOYING', 'OK', 'UNDEPLOYED', 'FAILED', 'UNKNOWN', 'LOST'"
_KINDS = "'keepalive', 'clone', 'design', 'control'"
_ALERTS = "'lost', 'undeployed', 'risk', 'blocked', 'enrollment'"
_STATES = "'intent', 'running', 'success', 'failed', 'refused', 'unknown'"

_INSTANT = sa.DateTime(timezone=True)
_WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def _where(condition: str, in_postgresql: str | None = None) -> dict[str, Any]:
    twin = sa.text(in_postgresql or condition)
    return {"sqlite_where": sa.text(condition), "postgresql_where": twin}


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "voice",
        sa.Column("id", _WHOLE, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("voice_id", sa.String),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("recipe", sa.JSON),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("last_used_at", _INSTANT),
        sa.Column("enrolled_at", _INSTANT),
        sa.Column("anchored_at", _INSTANT, nullable=False),
        sa.Column("next_at", _INSTANT),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_error", sa.String),
        sa.Column("suspected_at", _INSTANT),
        sa.Column("controlled_at", _INSTANT),
        sa.Column("held_at", _INSTANT),
        sa.Column("restored_at", _INSTANT),
        sa.Column("remade_at", _INSTANT),
        sa.UniqueConstraint("name", name="voice_name_is_unique"),
        sa.UniqueConstraint("model", "voice_id", name="voice_id_is_unique"),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 64", name="voice_name_length"),
        sa.CheckConstraint("failures >= 0", name="voice_failures_sign"),
        sa.CheckConstraint("status <> 'OK' OR voice_id IS NOT NULL", name="voice_ok_has_id"),
        sa.CheckConstraint("origin IN ('imported', 'clone', 'design')", name="voice_origin"),
        sa.CheckConstraint(f"status IN ({_STATUSES})", name="voice_status"),
        sqlite_autoincrement=True,
    )
    op.create_index("voice_by_next_at", "voice", ["next_at"])
    op.create_index(
        "voice_by_anchor",
        "voice",
        ["anchored_at"],
        **_where("next_at IS NOT NULL"),
    )
    op.create_index(
        "voice_suspected",
        "voice",
        ["model"],
        **_where("suspected_at IS NOT NULL AND controlled_at IS NULL"),
    )
    op.create_table(
        "task",
        sa.Column("id", _WHOLE, primary_key=True),
        sa.Column("voice_pk", _WHOLE, sa.ForeignKey("voice.id", ondelete="CASCADE")),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("spoken", sa.String),
        sa.Column("task_id", sa.String),
        sa.Column("token_digest", sa.String),
        sa.Column("sent_at", _INSTANT, nullable=False),
        sa.Column("created_at", _INSTANT),
        sa.Column("finished_at", _INSTANT),
        sa.Column("next_poll_at", _INSTANT),
        sa.Column("polls", sa.Integer, nullable=False),
        sa.Column("code", sa.String),
        sa.Column("message", sa.String),
        sa.Column("cost_micros", _WHOLE),
        sa.Column("possible_cost_micros", _WHOLE),
        sa.CheckConstraint("polls >= 0", name="task_polls_sign"),
        sa.CheckConstraint(
            "state <> 'running' OR (task_id IS NOT NULL AND next_poll_at IS NOT NULL)",
            name="task_running_is_polled",
        ),
        sa.CheckConstraint(f"kind IN ({_KINDS})", name="task_kind"),
        sa.CheckConstraint(f"state IN ({_STATES})", name="task_state"),
        sqlite_autoincrement=True,
    )
    op.create_index("task_by_voice", "task", ["voice_pk", "id"])
    op.create_index("task_open", "task", ["state"], **_where("state IN ('intent', 'running')"))
    op.create_index(
        "task_open_of_voice", "task", ["voice_pk"], **_where("state IN ('intent', 'running')")
    )
    op.create_index("task_by_next_poll", "task", ["next_poll_at"], **_where("state = 'running'"))
    op.create_index(
        "task_by_token",
        "task",
        ["token_digest"],
        unique=True,
        **_where("token_digest IS NOT NULL"),
    )
    op.create_table(
        "ledger",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("cost_micros", _WHOLE, nullable=False),
        sa.Column("possible_cost_micros", _WHOLE, nullable=False),
        sa.CheckConstraint("cost_micros >= 0 AND possible_cost_micros >= 0", name="ledger_signs"),
        sa.CheckConstraint(f"kind IN ({_KINDS})", name="ledger_kind"),
    )
    op.create_table(
        "tally",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("state", sa.String(16), primary_key=True),
        sa.Column("ended", _WHOLE, nullable=False),
        sa.CheckConstraint("ended >= 0", name="tally_sign"),
        sa.CheckConstraint(f"kind IN ({_KINDS})", name="tally_kind"),
        sa.CheckConstraint(f"state IN ({_STATES})", name="tally_state"),
    )
    op.create_table(
        "balance",
        sa.Column("id", _WHOLE, primary_key=True),
        sa.Column("micros", _WHOLE, nullable=False),
        sa.Column("told_at", _INSTANT, nullable=False),
        sa.CheckConstraint("id = 1", name="balance_is_one"),
    )
    op.create_table(
        "history",
        sa.Column("id", _WHOLE, primary_key=True),
        sa.Column(
            "voice_pk", _WHOLE, sa.ForeignKey("voice.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("event", sa.String, nullable=False),
        sa.Column("level", sa.String, nullable=False),
        sa.Column("detail", sa.JSON),
        sa.Column("logged", sa.Boolean, nullable=False),
    )
    op.create_index("history_by_voice", "history", ["voice_pk", "id"])
    op.create_index("history_unlogged", "history", ["id"], **_where("logged = 0", "NOT logged"))
    op.create_table(
        "past",
        sa.Column(
            "voice_pk",
            _WHOLE,
            sa.ForeignKey("voice.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("cost_micros", _WHOLE, nullable=False),
        sa.Column("possible_cost_micros", _WHOLE, nullable=False),
        sa.CheckConstraint("cost_micros >= 0 AND possible_cost_micros >= 0", name="past_signs"),
    )
    op.create_table(
        "removal",
        sa.Column("id", _WHOLE, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("voice_id", sa.String),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
    )
    op.create_table(
        "breaker",
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("last_voice_pk", _WHOLE),
        sa.Column("opened_at", _INSTANT),
        sa.Column("cause", sa.String),
        sa.Column("probes", sa.Integer, nullable=False),
        sa.Column("probe_at", _INSTANT),
        sa.Column("judged_at", _INSTANT),
        sa.Column("distrusted", sa.Boolean, nullable=False),
        sa.CheckConstraint("run >= 0 AND probes >= 0", name="breaker_signs"),
    )
    op.create_table(
        "alert",
        sa.Column("id", _WHOLE, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("voice_pk", _WHOLE, sa.ForeignKey("voice.id", ondelete="CASCADE")),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("level", sa.String, nullable=False),
        sa.Column("cause", sa.String, nullable=False),
        sa.Column("since", _INSTANT, nullable=False),
        sa.Column("told", sa.Integer, nullable=False),
        sa.Column("tell_at", _INSTANT),
        sa.Column("ended_at", _INSTANT),
        sa.Column("send_at", _INSTANT),
        sa.Column("sent_at", _INSTANT),
        sa.CheckConstraint(f"kind IN ({_ALERTS})", name="alert_kind"),
        sa.CheckConstraint("level IN ('info', 'warning', 'error')", name="alert_level"),
        sa.CheckConstraint("told >= 0", name="alert_told_sign"),
        sa.CheckConstraint("(kind = 'blocked') = (voice_pk IS NULL)", name="alert_subject"),
        sa.CheckConstraint("ended_at IS NOT NULL OR tell_at IS NOT NULL", name="alert_is_told"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "alert_open_of_voice",
        "alert",
        ["voice_pk", "kind"],
        unique=True,
        **_where("ended_at IS NULL AND voice_pk IS NOT NULL"),
    )
    op.create_index(
        "alert_open_of_model",
        "alert",
        ["model"],
        unique=True,
        **_where("ended_at IS NULL AND voice_pk IS NULL"),
    )
    op.create_index("alert_by_tell_at", "alert", ["tell_at"], **_where("tell_at IS NOT NULL"))
    op.create_index("alert_by_send_at", "alert", ["send_at"], **_where("send_at IS NOT NULL"))
    op.create_table(
        "message",
        sa.Column("id", _WHOLE, primary_key=True),
        sa.Column("topic", sa.String(16), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("level", sa.String, nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("body", sa.String, nullable=False),
        sa.Column("made_at", _INSTANT, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("send_at", _INSTANT),
        sa.Column("sent_at", _INSTANT),
        sa.CheckConstraint(f"topic IN ({_ALERTS}, 'digest')", name="message_topic"),
        sa.CheckConstraint("level IN ('info', 'warning', 'error')", name="message_level"),
        sa.CheckConstraint("place >= 0 AND tries >= 0", name="message_signs"),
        sa.CheckConstraint("send_at IS NULL OR sent_at IS NULL", name="message_is_sent_once"),
        sqlite_autoincrement=True,
    )
    op.create_index("message_to_send", "message", ["place"], **_where("send_at IS NOT NULL"))
    op.create_table(
        "audio",
        sa.Column("id", _WHOLE, primary_key=True),
        sa.Column(
            "voice_pk",
            _WHOLE,
            sa.ForeignKey("voice.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("voice_id", sa.String),
        sa.Column("url", sa.String, nullable=False),
        sa.Column("ends_at", _INSTANT, nullable=False),
        sa.Column("next_at", _INSTANT),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("file", sa.String),
        sa.Column("error", sa.String),
        sa.CheckConstraint("kind IN ('preview', 'source')", name="audio_kind"),
        sa.CheckConstraint("failures >= 0", name="audio_failures_sign"),
        sqlite_autoincrement=True,
    )
    op.create_index("audio_by_voice", "audio", ["voice_pk"])
    op.create_index("audio_by_next_at", "audio", ["next_at"], **_where("next_at IS NOT NULL"))
    op.create_table(
        "keeper",
        sa.Column("keeper", sa.String, primary_key=True),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("once", sa.Boolean, nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("last_pass_at", _INSTANT),
        sa.Column("alive_until", _INSTANT),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("interval_s", sa.Float, nullable=False),
    )
