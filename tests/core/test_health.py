"""Whether all is well: what warns, what is critical, and what each finding says to do."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from tests.examples import DAY, HOUR, MINUTE, NOW, POLICY, SECOND
from voicekeeper.core import health
from voicekeeper.core.enums import NEVER_KNOWN
from voicekeeper.core.health import Finding, Health, Severity
from voicekeeper.core.models import Balance, Breaker, Status
from voicekeeper.core.requests import FLASH

TICK = 10 * SECOND


def fleet(**fields: Any) -> Health:  # noqa: ANN401 - any of its fields
    """Return a fleet of three that a daemon keeps."""
    well: dict[str, Any] = {
        "by_status": {Status.OK: 3},
        "paused": 0,
        "overdue": 0,
        "at_risk": 0,
        "last_pass_at": NOW - TICK,
        "keeper": "1@here",
        "blocked": [],
        "next_at": NOW + HOUR,
    }
    return Health(**well | fields)


def found(**fields: Any) -> list[tuple[Severity, str]]:  # noqa: ANN401
    findings = health.findings(fleet(**fields), now=NOW, tick=TICK, policy=POLICY)
    return [(finding.severity, finding.sentence) for finding in findings]


def test_a_fleet_that_is_kept_has_no_findings() -> None:
    assert found() == []


def test_the_severities_are_the_exit_codes_of_monitoring_plugins() -> None:
    assert [int(severity) for severity in Severity] == [0, 1, 2, 3]
    assert [severity.name for severity in Severity] == ["OK", "WARNING", "CRITICAL", "UNKNOWN"]


@pytest.mark.parametrize(
    ("fields", "severity", "words"),
    [
        (
            {"last_pass_at": None},
            Severity.CRITICAL,
            ["no daemon has ever made a pass; 'systemctl start voicekeeper' or 'voicekeeper run'"],
        ),
        (
            {"last_pass_at": NOW - HOUR},
            Severity.CRITICAL,
            ["no daemon has made a pass since 2026-05-01T11:00:00Z; 'systemctl start voicekeeper'"],
        ),
        (
            {"runs": False},
            Severity.CRITICAL,
            ["no daemon runs, and none has made a pass since 2026-05-01T11:59:50Z; 'systemctl"],
        ),
        (
            {"by_status": {Status.OK: 2, Status.LOST: 1}},
            Severity.CRITICAL,
            ["1 voice LOST; ", "'retry NAME' makes a new one", "'remove NAME' forgets it"],
        ),
        (
            {"at_risk": 2},
            Severity.CRITICAL,
            ["2 voices at risk; 'voicekeeper list' shows which, 'voicekeeper history NAME' why"],
        ),
        (
            {"at_risk": 5, "risky": ["anna", "berta", "clara"]},
            Severity.CRITICAL,
            ["5 voices at risk: anna, berta, clara and 2 more; 'voicekeeper list' shows which"],
        ),
        (
            {
                "blocked": [
                    Breaker(model=FLASH, opened_at=NOW - HOUR, cause="404", probe_at=NOW + MINUTE)
                ]
            },
            Severity.CRITICAL,
            [f"calls for {FLASH} are paused since", "; the next probe is at 2026-05-01T12:01:00Z;"],
        ),
        (
            {"blocked": [Breaker(model=FLASH, opened_at=NOW - HOUR, cause="404", probe_at=NOW)]},
            Severity.CRITICAL,
            ["404; the next probe is due now; "],
        ),
        (
            {"overdue": 2, "late": ["anna", "berta"]},
            Severity.WARNING,
            ["2 voices overdue: anna, berta; 'voicekeeper list'", "'voicekeeper history NAME' why"],
        ),
        (
            {"refused": 4, "waiting": ["anna (401)", "berta (401)", "clara (402)"]},
            Severity.WARNING,
            ["4 voices NEW and not made so far: anna (401), berta (401), clara (402) and 1 more;"],
        ),
        (
            {"by_status": {Status.UNDEPLOYED: 2}},
            Severity.WARNING,
            ["2 voices UNDEPLOYED; 'voicekeeper show NAME' tells why, 'retry NAME' repeats its"],
        ),
        (
            {"by_status": {Status.UNKNOWN: 1}},
            Severity.WARNING,
            ["1 voice UNKNOWN; ", "'retry NAME' repeats its enrollment"],
        ),
        (
            {"by_status": {Status.FAILED: 1}},
            Severity.WARNING,
            ["1 voice FAILED; ", "'retry NAME' repeats its enrollment"],
        ),
        (
            {"held": 2},
            Severity.WARNING,
            [
                "2 voices NEW and held: the day's budget for enrollments is spent",
                "goes on at 2026-05-02T00:00:00Z",
                "raise budget.enrollments_usd_per_day and reload the daemon",
            ],
        ),
        (
            {"held_for_good": 1},
            Severity.WARNING,
            [
                "1 voice NEW and never begun: to make one costs more than the whole day's budget",
                "raise budget.enrollments_usd_per_day and reload the daemon",
            ],
        ),
        (
            {"balance": Balance(micros=1_000, told_at=NOW - HOUR)},
            Severity.WARNING,
            ["the balance was $0.001 at 2026-05-01T11:00:00Z, enough for 15 days", "top it up"],
        ),
        (
            {"blocked": [Breaker(model=FLASH, run=5, opened_at=NOW - HOUR, cause="402 empty")]},
            Severity.CRITICAL,
            [f"calls for {FLASH} are paused since 2026-05-01T11:00:00Z: 402 empty; ", "check"],
        ),
    ],
)
def test_each_thing_that_is_not_well_is_found_with_its_severity_and_its_mend(
    fields: dict[str, Any], severity: Severity, words: list[str]
) -> None:
    (finding,) = health.findings(fleet(**fields), now=NOW, tick=TICK, policy=POLICY)
    assert finding.severity is severity
    assert [word for word in words if word not in finding.sentence] == []
    assert "'voicekeeper" not in finding.sentence.removesuffix(finding.mend)  # so the page finds it


@pytest.mark.parametrize(
    "by_status", [{}, {Status.LOST: 1}, {Status.FAILED: 1}, {Status.UNDEPLOYED: 1}]
)
def test_no_daemon_is_missed_where_there_is_nothing_to_keep(by_status: dict[Status, int]) -> None:
    assert not any("no daemon" in told for _, told in found(by_status=by_status, last_pass_at=None))


@pytest.mark.parametrize("status", [Status.NEW, Status.DEPLOYING, Status.OK])
def test_a_daemon_is_missed_for_every_voice_that_it_would_keep(status: Status) -> None:
    assert any("no daemon" in told for _, told in found(by_status={status: 1}, last_pass_at=None))


def test_the_worst_comes_first() -> None:
    severities = [
        severity
        for severity, _ in found(
            by_status={Status.OK: 1, Status.FAILED: 1, Status.LOST: 1},
            overdue=1,
            at_risk=1,
            last_pass_at=None,
        )
    ]
    assert severities == [Severity.CRITICAL] * 3 + [Severity.WARNING] * 2


def test_a_balance_for_a_month_or_for_nothing_to_keep_is_no_finding() -> None:
    assert found(balance=Balance(micros=2_000, told_at=NOW)) == []
    assert found(balance=Balance(micros=0, told_at=NOW), by_status={}) == []


def test_a_breaker_that_is_closed_is_no_finding() -> None:
    assert found(blocked=[Breaker(model=FLASH, run=3)]) == []


@pytest.mark.parametrize(
    ("ago", "tick", "unkept"),
    [
        (timedelta(0), TICK, False),
        (2 * MINUTE, TICK, False),
        (2 * MINUTE + SECOND, TICK, True),
        (2 * MINUTE + SECOND, MINUTE, False),
        (3 * MINUTE + SECOND, MINUTE, True),
        (3 * HOUR, HOUR, False),
        (-HOUR, TICK, False),
    ],
)
def test_a_fleet_is_unkept_after_two_minutes_or_three_long_ticks(
    ago: timedelta, tick: timedelta, *, unkept: bool
) -> None:
    assert health.Keeping(NOW - ago).is_missing(now=NOW, tick=tick) is unkept


@pytest.mark.parametrize(("ago", "unkept"), [(2 * HOUR, False), (2 * HOUR + SECOND, True)])
def test_a_timer_may_take_two_hours(ago: timedelta, *, unkept: bool) -> None:
    assert health.Keeping(NOW - ago, once=True).is_missing(now=NOW, tick=TICK) is unkept
    assert bool(found(last_pass_at=NOW - ago, once=True)) is unkept


def test_a_daemon_that_is_known_to_have_ended_is_missed_at_once_and_a_timer_is_not() -> None:
    ended = health.Keeping(NOW - TICK, runs=False)
    assert ended.is_missing(now=NOW, tick=TICK)
    never = health.Keeping(None, runs=False)
    assert never.sentence.startswith("no daemon has ever made a pass; ")
    timer = health.Keeping(NOW - TICK, once=True, runs=False)
    assert not timer.is_missing(now=NOW, tick=TICK)


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (Status.FAILED, "402", "anna (402)"),
        (Status.NEW, "401", "anna (401)"),
        (Status.NEW, None, "anna"),
        (Status.UNDEPLOYED, "402", "anna"),
        (Status.LOST, None, "anna"),
        (Status.LOST, "gone", "anna"),
        (Status.LOST, f"gone; {NEVER_KNOWN}", f"anna ({NEVER_KNOWN})"),
        (Status.OK, NEVER_KNOWN, "anna"),
    ],
)
def test_a_name_has_its_reason_where_an_enrollment_failed_or_the_voice_was_never_known(
    status: Status, error: str | None, told: str
) -> None:
    assert health.named("anna", status, error) == told


@pytest.mark.parametrize(
    ("count", "names", "told"),
    [
        (1, ["anna"], "1 voice LOST: anna; 'voicekeeper show NAME'"),
        (3, ["anna", "bert", "carla"], "3 voices LOST: anna, bert, carla; 'voicekeeper"),
        (5, ["anna", "bert", "carla"], "5 voices LOST: anna, bert, carla and 2 more; 'voicekeeper"),
        (2, [], "2 voices LOST; 'voicekeeper show NAME'"),
    ],
)
def test_voices_that_need_a_person_are_named_as_far_as_there_is_room(
    count: int, names: list[str], told: str
) -> None:
    ((_, sentence),) = found(
        by_status={Status.LOST: count}, names={Status.LOST: names, Status.FAILED: ["dora"]}
    )
    assert sentence.startswith(told)


def test_a_voice_is_overdue_by_a_fiftieth_of_the_window() -> None:
    assert health.late_before(NOW, POLICY) == NOW - 7 * DAY / 50


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "3 voices kept, next due in 1 h"),
        ({"by_status": {Status.OK: 1}}, "1 voice kept, next due in 1 h"),
        ({"next_at": NOW - HOUR}, "3 voices kept, next due now"),
        ({"next_at": NOW}, "3 voices kept, next due now"),
        ({"next_at": None}, "3 voices kept"),
        ({"paused": 2}, "1 voice kept, 2 paused, next due in 1 h"),
        ({"by_status": {}, "next_at": None}, f"no voice is registered; {health.MEND_EMPTY}"),
        ({"by_status": {Status.LOST: 1}, "next_at": None}, "0 voices kept"),
        (
            {"by_status": {Status.NEW: 1, Status.DEPLOYING: 1, Status.OK: 1, Status.LOST: 5}},
            "3 voices kept, next due in 1 h",
        ),
        ({"last_pass_at": None}, "3 voices to keep, next due in 1 h"),
        ({"last_pass_at": NOW - HOUR}, "3 voices to keep, next due in 1 h"),
        ({"last_pass_at": NOW - HOUR, "once": True}, "3 voices kept, next due in 1 h"),
    ],
)
def test_the_headline_is_the_fleet_in_one_line(fields: dict[str, Any], line: str) -> None:
    assert health.headline(fleet(**fields), now=NOW, tick=TICK) == line


# what `check` looks at


@pytest.mark.parametrize(
    ("off", "severity", "told"),
    [
        (0 * SECOND, Severity.OK, ""),
        (MINUTE, Severity.OK, ""),
        (MINUTE + SECOND, Severity.WARNING, "1 min 1 s"),
        (HOUR, Severity.WARNING, "1 h"),
        (HOUR + SECOND, Severity.CRITICAL, "1 h"),
        (40 * DAY, Severity.CRITICAL, "40 d"),
    ],
)
def test_a_clock_may_be_off_by_a_minute_and_is_wrong_by_more_than_an_hour_either_way(
    off: timedelta, severity: Severity, told: str
) -> None:
    for ahead, way in ((off, "ahead of"), (-off, "behind")):
        harm = f"{told} {way} the gateway's; keepalives may come too late by as much; "
        mend = "'timedatectl set-ntp true' sets it right, and keeps it so"
        sentence = harm + mend if told else "as the gateway's, to the minute"
        assert health.of_clock(ahead) == Finding(severity, sentence)


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("free", "size"), [(64 * MIB, 0), (65 * MIB, MIB), (1064 * MIB, 1000 * MIB)]
)
def test_a_disk_has_room_for_the_registry_once_more_and_64_mib(free: int, size: int) -> None:
    assert health.of_disk(free, size) is None
    assert health.of_disk(free - 1, size) is not None


@pytest.mark.parametrize(("free", "told"), [(9_000_000, 9), (8_999_999, 8), (0, 0)])
def test_a_disk_with_little_room_is_told_in_whole_megabytes(free: int, told: int) -> None:
    assert health.of_disk(free, MIB) == Finding(
        Severity.WARNING,
        f"{told} MB are free on its disk; make room, or the daemon has to wait for it",
    )


TODAY = NOW.date()
MORNING, EVENING = (NOW.replace(hour=hour, minute=59) for hour in (0, 23))


@pytest.mark.parametrize("now", [MORNING, EVENING])
@pytest.mark.parametrize("days", [-1, 0, 1])
def test_a_daily_copy_of_today_or_a_day_beside_it_is_well(now: datetime, days: int) -> None:
    last = TODAY + days * DAY
    assert health.of_copies(last, now=now) == Finding(
        Severity.OK, f"the last daily copy is of {last}"
    )


@pytest.mark.parametrize("now", [MORNING, EVENING])
@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        (None, "there is no daily copy; a daemon makes one, 'voicekeeper backup FILE' at once"),
        (
            date(2026, 4, 29),
            (
                "the last daily copy is of 2026-04-29; 'backup.failed' in the daemon's log tells "
                "why, 'voicekeeper backup FILE' makes one"
            ),
        ),
        (
            date(2026, 5, 3),
            (
                "the last daily copy is of 2026-05-03, which lies ahead: the clock is wrong, or "
                "was; once it is right, remove that file, so that later copies are seen"
            ),
        ),
    ],
    ids=["none", "old", "ahead"],
)
def test_daily_copies_that_stopped_are_told_and_so_are_those_that_would_hide_it(
    now: datetime, last: date | None, sentence: str
) -> None:
    assert health.of_copies(last, now=now) == Finding(Severity.WARNING, sentence)
