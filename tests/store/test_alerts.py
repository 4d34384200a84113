"""Alerts in whole lives: told at once, daily until it has ended, and lost by no crash."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, StatementError
from sqlmodel import col

from tests.support import DAY, HOUR, MINUTE, NOW, Call, Life, driver_of, imported, wanted
from voicekeeper.core.enums import NEVER_KNOWN
from voicekeeper.core.models import Alert, AlertKind, Breaker, Status, Voice
from voicekeeper.core.requests import FLASH
from voicekeeper.errors import CallFailed
from voicekeeper.store import alerts as store
from voicekeeper.store.history import LogLine

pytestmark = pytest.mark.usefixtures("each_database")

MODEL = "cosyvoice-v3-plus"
ALERTS = ("voice.lost", "voice.undeployed", "voice.at_risk", "upstream.blocked")
ALL_CLEAR = ("voice.recovered", "upstream.recovered")


def told(life: Life, *events: str) -> list[tuple[str, str]]:
    """Return what was told of alerts, and how loud."""
    words = {20: "info", 30: "warning", 40: "error"}
    wanted_ = events or (*ALERTS, *ALL_CLEAR)
    return [(event, words[level]) for level, event, _ in life.log.lines if event in wanted_]


def unknown_upstream(life: Life, name: str = "anna", **fields: Any) -> None:  # noqa: ANN401
    """Register a voice that the gateway has not."""
    life.registry.register([imported(name, **fields)], now=life.clock.now(), policy=life.policy)


def empty_account(_: Call) -> Exception:
    return CallFailed("the account is empty", code=402)


def own_trouble(name: str) -> Callable[[Call], Exception | None]:
    """Return the trouble of one voice, which is nobody's fault."""
    return lambda call: CallFailed("odd", code=418) if call.subject == f"id-{name}" else None


def alerts(life: Life, *, still_open: bool = True) -> list[AlertKind]:
    where = [col(Alert.ended_at).is_(None)] if still_open else []
    return [alert.kind for alert in life.rows(Alert, *where)]


def take(life: Life, now: datetime) -> list[LogLine]:
    return list(life.worklist.take_alerts(now=now, policy=life.policy))


def mark(life: Life, lines: list[LogLine], now: datetime) -> None:
    life.worklist.mark_alerts(lines, now=now)


def events(lines: list[LogLine]) -> list[str]:
    return [line.event for line in lines]


def put(life: Life, **columns: Any) -> None:  # noqa: ANN401 - any column
    row: dict[str, Any] = {"kind": AlertKind.BLOCKED, "model": MODEL, "level": "error"}
    row |= {"cause": "402", "since": NOW, "tell_at": NOW}
    with life.database.writing() as session:
        session.add(Alert(**row | columns))


# what is told, and how often


def test_a_loss_is_told_at_once_and_daily_until_the_voice_is_removed(life: Life) -> None:
    unknown_upstream(life)
    life.live(5 * MINUTE)
    assert told(life) == [("voice.lost", "error")]
    life.live(3 * DAY)
    lines = life.log.of("voice.lost")
    assert [line.get("told") for line in lines] == [None, 2, 3, 4]
    assert {(line["name"], line["error"]) for line in lines} == {("anna", lines[0]["error"])}
    assert life.events("anna").count("voice.lost") == 1
    life.registry.remove("anna", now=life.clock.now())
    life.live(3 * DAY)
    assert len(life.log.of("voice.lost")) == 4
    assert told(life, *ALL_CLEAR) == []
    assert life.rows(Alert) == []


def test_a_voice_id_that_the_gateway_never_knew_is_told_as_that_everywhere(life: Life) -> None:
    life.register(imported("anna"), imported("known", last_used_at=NOW - DAY))
    life.live(4 * DAY)
    unknown_upstream(life, "typo", last_used_at=life.clock.now() - DAY)
    life.gateway.delete_voice("id-known", life.clock.true)
    life.live(4 * DAY)
    errors = {line["name"]: line["error"] for line in life.log.of("voice.lost")}
    assert errors["typo"] == f"{errors['known']}; {NEVER_KNOWN}"
    assert {name: life.voice(name).last_error for name in errors} == errors
    assert {alert.cause for alert in life.rows(Alert)} == set(errors.values())
    health = life.registry.health(now=life.clock.now(), policy=life.policy)
    assert health.names[Status.LOST] == ["known", f"typo ({NEVER_KNOWN})"]


@pytest.mark.parametrize("is_gone", [True, False], ids=["lost", "at risk"])
def test_of_a_voice_that_a_person_pauses_nothing_more_is_told(life: Life, *, is_gone: bool) -> None:
    if is_gone:
        unknown_upstream(life)
    else:
        life.register(imported("anna", last_used_at=NOW - 5 * DAY))
        life.upstream.trouble = own_trouble("anna")
    life.live(HOUR)
    assert told(life) == [("voice.lost", "error") if is_gone else ("voice.at_risk", "warning")]
    life.registry.pause("anna", now=life.clock.now())
    life.live(3 * DAY)
    assert len(told(life)) == 1
    assert alerts(life) == []


def test_a_failed_review_is_told_daily_until_the_enrollment_is_repeated(life: Life) -> None:
    life.register(wanted("anna", prefix="reject1"))
    life.live(2 * DAY + HOUR)
    assert told(life) == [("voice.undeployed", "warning")] * 3
    life.registry.retry("anna", now=life.clock.now())
    life.live(HOUR)  # it fails again, which is another alert
    assert told(life) == [("voice.undeployed", "warning")] * 4
    assert len(life.log.of("voice.undeployed")[-1]) == len(life.log.of("voice.undeployed")[0])


def test_a_risk_is_told_once_for_each_level_and_daily_and_its_end_once(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW), imported("berta", last_used_at=NOW))
    life.upstream.trouble = own_trouble("anna")
    life.live(5 * DAY - HOUR)
    assert told(life) == []
    life.live(DAY)
    assert told(life) == [("voice.at_risk", "warning")]
    life.live(14 * HOUR)
    assert told(life) == [("voice.at_risk", "warning")] * 2 + [("voice.at_risk", "error")]
    life.upstream.trouble = lambda _: None
    life.live(2 * DAY)
    assert told(life)[3:] == [("voice.recovered", "info")]
    lines = life.log.of("voice.at_risk")
    assert [line["told"] for line in lines] == [1, 2, 3]
    assert {line["deadline_at"] for line in lines} == {"2026-05-08T12:00:00Z"}
    assert {line["since"] for line in lines} == {"2026-05-06T12:00:00Z"}
    assert {line["error"] for line in lines} == {"418: odd"}
    history = [event for event in life.events("anna") if event in (*ALERTS, *ALL_CLEAR)]
    assert history == ["voice.at_risk", "voice.at_risk", "voice.recovered"]
    assert "voice.at_risk" not in life.events("berta")


def test_voices_long_unused_that_are_saved_at_once_are_not_told_at_risk(life: Life) -> None:
    """An import, or a host that was down: the first keepalives end the risk in its grace."""
    life.register(*(imported(f"v{n}", last_used_at=NOW - 6 * DAY) for n in range(30)))
    life.live(HOUR)
    assert told(life) == []
    assert life.rows(Alert) == []
    assert len(life.alive()) == 30


def test_a_route_that_no_control_call_can_test_is_told_once(life: Life) -> None:
    """Its breaker lets the waiting calls test it, and opens again, minute after minute."""
    for n in range(60):
        life.register(wanted(f"v{n:02}", prefix=f"demo{n:02}"))
        life.edit(f"v{n:02}", model=MODEL)
    life.upstream.trouble = lambda call: (
        CallFailed("the answer was lost", ambiguous=True) if call.at < NOW + 5 * MINUTE else None
    )
    life.live(2 * HOUR)
    unknown = [v.name for v in life.rows(Voice) if v.status is Status.UNKNOWN]
    assert 5 < len(unknown) < 60
    assert told(life) == [("upstream.blocked", "error"), ("upstream.recovered", "info")]
    assert alerts(life) == []


def test_a_route_that_no_voice_waits_for_is_told_no_more(life: Life) -> None:
    life.register(imported("anna"))
    life.upstream.trouble = empty_account
    life.live(DAY + HOUR)
    assert told(life) == [("upstream.blocked", "error")] * 2
    life.registry.remove("anna", now=life.clock.now())
    assert take(life, life.clock.now() + 3 * DAY) == []


# clocks


@pytest.mark.parametrize("wrong_by", [6 * DAY, -6 * DAY])
def test_a_clock_that_is_wrong_puts_no_voice_that_is_used_at_risk(
    life: Life, wrong_by: timedelta
) -> None:
    life.register(*(imported(f"v{n}", last_used_at=NOW) for n in range(3)))
    life.live(DAY)
    life.clock.wrong_by = wrong_by
    life.live(10 * DAY)
    life.clock.wrong_by = timedelta(0)
    life.live(4 * DAY)
    assert told(life) == []
    assert len(life.alive()) == 3


# crashes


@pytest.mark.parametrize("logged", [False, True], ids=["before the line", "after the line"])
@pytest.mark.parametrize("daily", [False, True], ids=["first", "daily"])
def test_a_crash_between_the_commit_and_the_telling_repeats_an_alert_and_loses_none(
    life: Life, *, logged: bool, daily: bool
) -> None:
    unknown_upstream(life)
    if daily:
        life.live(HOUR)
    said = life.log.log

    def dying(level: int, event: str, **fields: Any) -> None:  # noqa: ANN401
        if event != "voice.lost":
            return said(level, event, **fields)
        if logged:
            said(level, event, **fields)
        raise KeyboardInterrupt  # ends the whole loop at once, as a kill -9 would

    life.log.log = dying  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        life.live(2 * DAY)
    life.log.log = said  # type: ignore[method-assign]
    before = len(life.log.of("voice.lost"))
    assert before == daily + logged
    life.live(15 * MINUTE)
    assert len(life.log.of("voice.lost")) - before == 1
    life.live(12 * HOUR)
    assert len(life.log.of("voice.lost")) - before == 1


def blocked(life: Life) -> None:
    """Have the calls of a voice that waits be paused, which was logged before."""
    life.register(imported("anna"))
    put(life, model=FLASH, send_at=NOW)
    with life.database.writing() as session:
        session.add(Breaker(model=FLASH, opened_at=NOW, cause="402"))


def test_an_end_while_the_line_of_its_alert_is_logged_is_logged_too(life: Life) -> None:
    blocked(life)
    logging = take(life, NOW)
    with life.database.writing() as session:
        clear = store.unblocked(session, FLASH, since=NOW, now=NOW)
    mark(life, logging, NOW)
    assert events(clear) == ["upstream.recovered"]
    assert take(life, NOW) == []  # whoever ended it is about to log that
    again = take(life, NOW + MINUTE)
    assert events(again) == ["upstream.recovered"]
    mark(life, again, NOW + MINUTE)
    assert take(life, NOW + 30 * DAY) == []


def test_a_risk_that_gets_louder_is_repeated_until_it_is_marked(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW - 5 * DAY - MINUTE))
    take(life, NOW)
    mark(life, take(life, NOW + HOUR), NOW + HOUR)
    louder = take(life, NOW + 2 * DAY)
    assert louder == take(life, NOW + 2 * DAY + MINUTE)
    assert [line.level for line in louder] == ["error"]
    assert life.events("anna").count("voice.at_risk") == 2  # once a level


def test_an_all_clear_that_was_not_marked_is_repeated_and_its_history_is_not(life: Life) -> None:
    life.register(imported("anna"))
    life.edit("anna", status=Status.OK)
    about = {"kind": AlertKind.LOST, "model": FLASH, "voice_pk": life.voice("anna").id}
    put(life, **about, send_at=NOW, tell_at=NOW + DAY)
    first = take(life, NOW)
    assert [(line.event, line.level, line.fields["was"]) for line in first] == [
        ("voice.recovered", "info", "lost")
    ]
    assert take(life, NOW + MINUTE) == first
    assert life.events("anna").count("voice.recovered") == 1


@pytest.mark.sqlite_only  # a server takes no such value
def test_a_row_that_cannot_be_read_stops_no_other(life: Life) -> None:
    life.register(imported("anna"), imported("berta"))
    for key in (1, 2):
        about = {"kind": AlertKind.LOST, "model": FLASH, "voice_pk": key}
        put(life, **about, send_at=NOW)
    with life.database.writing() as session:
        session.execute(sa.update(Voice).values(status=Status.LOST))
        session.execute(sa.text("UPDATE alert SET since = 'never' WHERE voice_pk = 1"))
    assert [line.fields["name"] for line in take(life, NOW)] == ["berta"]


@pytest.mark.sqlite_only  # a server takes no such value
def test_an_answer_is_recorded_though_an_alert_of_its_voice_cannot_be_read(life: Life) -> None:
    life.register(imported("anna"))
    put(life, kind=AlertKind.LOST, voice_pk=1)
    put(life, kind=AlertKind.BLOCKED)
    life.edit("anna", status=Status.LOST)
    with life.database.writing() as session:
        session.execute(sa.text("UPDATE alert SET since = 'never'"))
    life.live(HOUR)
    assert life.voice("anna").status is Status.OK
    assert life.books().speech == 1


def test_a_database_that_is_full_delays_no_keepalive(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW - 6 * DAY))

    def full(**_: object) -> list[LogLine]:
        raise CallFailed("the disk is full")

    life.worklist.take_alerts = full  # type: ignore[method-assign]
    life.live(5 * MINUTE)
    assert life.voice("anna").status is Status.OK
    assert len(life.log.of("pass.failed")) >= 1


# rows


@pytest.mark.parametrize(
    "columns",
    [
        {"kind": AlertKind.LOST},
        {"voice_pk": 1},
        {"level": "loud"},
        {"told": -1},
        {"tell_at": None},
        {"kind": "another"},
        {"kind": AlertKind.RISK, "voice_pk": 7},
    ],
    ids=str,
)
def test_the_table_refuses_an_alert_that_makes_no_sense(
    life: Life, columns: dict[str, Any]
) -> None:
    life.register(imported("anna"))
    with pytest.raises((IntegrityError, StatementError), match=r"(?i)check|foreign|another"):
        put(life, **columns)


@pytest.mark.parametrize("about", ["a voice", "a model"])
def test_at_most_one_alert_of_a_kind_is_open(life: Life, about: str) -> None:
    life.register(imported("anna"))
    of_voice = {"kind": AlertKind.LOST, "voice_pk": 1, "model": FLASH}
    columns: dict[str, Any] = of_voice if about == "a voice" else {}
    put(life, **columns, ended_at=NOW)
    put(life, **columns)
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        put(life, **columns)


@pytest.mark.sqlite_only
def test_the_look_at_alerts_searches_indexes(life: Life) -> None:
    """A fleet that is well costs the same, however large it is."""
    life.register(imported("anna"))
    put(life)
    statements: list[str] = []
    with life.database.writing() as session:
        driver_of(session).set_trace_callback(statements.append)
        store.take(session, now=NOW, policy=life.policy)
        driver_of(session).set_trace_callback(None)
        plans = [
            row[3]
            for statement in statements
            for row in driver_of(session).execute(f"EXPLAIN QUERY PLAN {statement}")
        ]
    assert any("INDEX voice_by_anchor" in plan for plan in plans)
    scans = {plan for plan in plans if plan.startswith("SCAN") and "INDEX" not in plan}
    assert not scans & {"SCAN alert", "SCAN voice", "SCAN task"}


@pytest.mark.parametrize("wrong_by", [2 * DAY, -30 * DAY])
def test_a_clock_that_was_wrong_does_not_silence_an_alert(life: Life, wrong_by: timedelta) -> None:
    unknown_upstream(life)
    life.live(HOUR)
    life.clock.wrong_by = wrong_by
    life.live(2 * HOUR)
    life.clock.wrong_by = timedelta(0)
    before = len(life.log.of("voice.lost"))
    life.live(DAY + 2 * HOUR)
    assert 1 <= len(life.log.of("voice.lost")) - before <= 2
