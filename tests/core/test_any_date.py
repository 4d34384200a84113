"""Whatever dates and numbers a row holds, no rule overflows: one voice's row stops no other's."""

import inspect
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import UTCDateTime

from tests.command import CommandLine
from tests.daemon_support import Host, fast_gateway
from tests.examples import NOW, POLICY
from tests.support import FakeClock, imported, wanted
from tests.web_support import free_port
from voicekeeper.core import alerting, breaker, costs, health, messages, schedule, transitions
from voicekeeper.core.clock import SystemClock
from voicekeeper.core.enums import BalanceFacts, BreakerFacts, VoiceFacts
from voicekeeper.core.models import (
    Alert,
    AlertKind,
    Balance,
    Breaker,
    Kind,
    Message,
    Removal,
    Task,
    TaskState,
    Topic,
    Voice,
)
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import enrollment, keepalive, shared
from voicekeeper.sandbox import SandboxServer

RULES = (alerting, breaker, costs, health, messages, schedule)
LIVES = (transitions, shared, enrollment, keepalive)

MOMENTS = st.datetimes(timezones=st.just(UTC)) | st.sampled_from(
    [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
SPANS = [timedelta(microseconds=2), timedelta(days=36_500)]
"""About the shortest and the longest that the settings take."""


def policies() -> Iterator[Policy]:
    """Yield the most extreme settings that are taken."""
    for window, share, wait in product(SPANS, (2, 36_500), SPANS):
        interval = max(window / share, timedelta(microseconds=1))
        yield replace(
            POLICY,
            window=window,
            interval=interval,
            jitter=interval / 2,
            speech_first=wait,
            speech_interval=wait,
            enrollment_first=wait,
            enrollment_interval=wait,
            give_up=2 * wait,
            retry_base=wait,
            retry_cap=wait,
            requests_per_second=5e-324,
            enrollments_per_day=0,
            tick=wait,
            keep_history=window,
        )


def rows(model: type[SQLModel]) -> st.SearchStrategy[Any]:
    """Return rows with any values that their columns take."""
    hints = get_type_hints(model)
    columns = {name: st.from_type(hints[name]) for name in model.model_fields}
    return st.fixed_dictionaries(columns).map(lambda values: model(**values))


for kind, values in {
    datetime: MOMENTS,
    timedelta: st.sampled_from(SPANS),
    int: st.integers(0, 2**63 - 1),
    float: st.floats(0, 86_400),  # as `retry_after.seconds` gives them
    AlertKind: st.sampled_from(list(alerting.EVENTS)),
    Policy: st.sampled_from(list(policies())),
}.items():
    st.register_type_strategy(kind, values)
TABLES: dict[type, type[SQLModel]] = {
    Voice: Voice,
    VoiceFacts: Voice,
    Breaker: Breaker,
    BreakerFacts: Breaker,
    BalanceFacts: Balance,
    Task: Task,
    Alert: Alert,
}
for kind, table in TABLES.items():
    st.register_type_strategy(kind, rows(table))


def functions() -> Iterator[Any]:
    """Yield every public rule that knows of time."""
    for module in (*RULES, *LIVES):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            hints = get_type_hints(function, localns=globals())
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own and {datetime, timedelta, Policy} & set(hints.values()):
                yield pytest.param(function, hints, id=f"{module.__name__[12:]}.{name}")


@pytest.mark.parametrize(("rule", "hints"), list(functions()))
def test_no_rule_overflows(rule: Callable[..., object], hints: dict[str, Any]) -> None:
    arguments = {name: st.from_type(kind) for name, kind in hints.items() if name != "return"}
    named = inspect.signature(rule).parameters

    @settings(max_examples=30)
    @given(st.fixed_dictionaries({name: arguments[name] for name in named}))
    def check(given: dict[str, Any]) -> None:
        bound = inspect.Signature.from_callable(rule).bind(**given)
        rule(*bound.args, **bound.kwargs)

    check()


ZERO, NEVER = "0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999"
LOOKS = (["list"], ["status"], ["show", "odd"], ["history", "odd"], ["export"], ["list", "--json"])


def write_everywhere(path: Path, value: str) -> None:
    """Write a date into every column of dates, but of the voice `good` and its tasks."""
    others = {"voice": "name <> 'good'", "task": "spoken IS NOT 'id-good'"}
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in SQLModel.metadata.sorted_tables:
            dates = [c.name for c in table.columns if isinstance(c.type, UTCDateTime)]
            for name in dates:
                where = f"WHERE {others.get(table.name, 'TRUE')}"
                if table.name == "message" and name == "sent_at":
                    where += " AND send_at IS NULL"
                connection.execute(f"UPDATE {table.name} SET {name} = ? {where}", [value])  # noqa: S608 - of the schema


def add_rows(host: Host) -> None:
    """Let there be something in every table that a daemon looks at."""
    odd = host.voice("odd")
    told: dict[str, Any] = {
        "model": odd.model,
        "level": "error",
        "cause": "the cause",
        "since": NOW,
    }
    task: dict[str, Any] = {"voice_pk": odd.id, "model": odd.model, "sent_at": NOW}
    speech = task | {"kind": Kind.KEEPALIVE, "spoken": "id-odd"}
    with host.database.writing() as session:
        session.add_all(
            [
                Alert(kind=AlertKind.RISK, voice_pk=odd.id, told=1, tell_at=NOW, **told),
                Alert(kind=AlertKind.BLOCKED, tell_at=NOW, told=1, send_at=NOW, **told),
                Balance(micros=10**7, told_at=NOW),
                Breaker(model=odd.model, opened_at=NOW, cause="the cause", probe_at=NOW),
                Message(
                    topic=Topic.RISK, place=0, level="error", title="t", body="b", made_at=NOW,
                    send_at=NOW,
                ),
                Removal(name="gone", status="OK", at=NOW),
                Task(**speech, state=TaskState.INTENT),
                Task(**speech, state=TaskState.RUNNING, task_id="t1", next_poll_at=NOW),
                Task(
                    **task, kind=Kind.CLONE, state=TaskState.RUNNING, task_id="t2",
                    next_poll_at=NOW,
                ),
            ]
        )  # fmt: skip


@pytest.mark.host
@pytest.mark.parametrize("value", [ZERO, NEVER])
def test_a_daemon_starts_and_keeps_on_whatever_dates_its_registry_holds(
    tmp_path: Path, value: str
) -> None:
    names = ("good", "odd", "other")
    cli = CommandLine(tmp_path / "voicekeeper.db", FakeClock(SystemClock().now()))
    with SandboxServer(fast_gateway()) as server:
        for name in names:
            server.import_voice(f"id-{name}")
        port = free_port()
        settings = {"WEB__LISTEN": f"127.0.0.1:{port}", "POLLING__GIVE_UP": "1s"}
        host = Host(tmp_path, server.base_url, **settings)
        host.register(*map(imported, names), wanted("made", prefix="made1"))
        add_rows(host)
        write_everywhere(host.path, value)
        with host.run() as daemon:
            for name in names:
                daemon.await_event("keepalive.succeeded", name=name)
            for path in ("/", "/metrics", "/healthz"):
                assert httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200, path
            assert daemon.end(signal.SIGTERM) == 0
            assert daemon.told("pass.failed") == []
    write_everywhere(host.path, value)
    for arguments in LOOKS:
        ended = cli(*arguments)
        assert "Traceback" not in ended.err
        assert ended.code == (0 if arguments[0] != "status" else 2), arguments
