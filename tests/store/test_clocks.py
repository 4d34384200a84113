"""What only a wrong clock can have written is mended at the head of a pass, and nothing else."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support import DAY, HOUR, MINUTE, NOW, SECOND, Life, imported
from voicekeeper.core import alerting
from voicekeeper.core.models import Active, Alert, AlertKind, Breaker, Message, Status, Topic
from voicekeeper.core.requests import FLASH
from voicekeeper.errors import CallFailed
from voicekeeper.store import due


@pytest.fixture
def life(tmp_path: Path) -> Life:
    made = Life(tmp_path)
    made.register(imported("anna", last_used_at=NOW))
    return made


def mended(life: Life) -> bool:
    """Mend; return whether there was anything to mend, and see that nothing is left."""
    with life.database.writing() as session:
        wrong = due.look(session, now=NOW, policy=life.policy).wrong
        if wrong is not None:
            due.mend(session, wrong, now=NOW, policy=life.policy)
        left = due.look(session, now=NOW, policy=life.policy).wrong
        assert left is None or passed(life) > NOW
        return wrong is not None


def passed(life: Life) -> datetime:
    """Return the last pass: until the next is noted, the clock is seen to be set back."""
    return max((row.last_pass_at or NOW for row in life.rows(Active)), default=NOW)


def opened(
    opened_at: datetime = NOW - HOUR,
    *,
    probe_at: datetime | None = None,
    judged_at: datetime | None = None,
) -> Breaker:
    return Breaker(
        model=FLASH, run=1, cause="402", opened_at=opened_at, probe_at=probe_at, judged_at=judged_at
    )


@pytest.mark.parametrize(
    ("ahead", "wrong"),
    [(3 * DAY, False), (3 * DAY + SECOND, True), (-400 * DAY, False), (3000 * DAY, True)],
)
def test_a_due_time_beyond_the_interval_is_now(
    life: Life, ahead: timedelta, *, wrong: bool
) -> None:
    life.edit("anna", next_at=NOW + ahead)
    assert mended(life) is wrong
    assert life.voice("anna").next_at == (NOW if wrong else NOW + ahead)


@pytest.mark.parametrize(("behind", "wrong"), [(HOUR, False), (HOUR + SECOND, True)])
def test_after_the_clock_was_set_back_by_over_an_hour_every_voice_is_due(
    life: Life, behind: timedelta, *, wrong: bool
) -> None:
    life.edit("anna", next_at=NOW + DAY)
    with life.database.writing() as session:
        session.get_one(Active, 1).last_pass_at = NOW + behind
    assert mended(life) is wrong
    assert life.voice("anna").next_at == (NOW if wrong else NOW + DAY)


@pytest.mark.parametrize(
    ("ahead", "wrong"), [(SECOND, False), (3 * DAY, False), (3 * DAY + SECOND, True)]
)
def test_a_probe_waits_for_its_time_unless_a_wrong_clock_set_it(
    life: Life, ahead: timedelta, *, wrong: bool
) -> None:
    life.put(opened(probe_at=NOW + ahead, judged_at=NOW))
    assert mended(life) is wrong
    assert life.rows(Breaker)[0].probe_at == (NOW if wrong else NOW + ahead)


def test_a_clock_that_was_set_back_by_however_little_holds_off_no_probe(life: Life) -> None:
    life.put(opened(probe_at=NOW + HOUR, judged_at=NOW + SECOND))
    assert mended(life)
    (breaker,) = life.rows(Breaker)
    assert (breaker.probe_at, breaker.judged_at) == (NOW, NOW)


def test_a_breaker_that_a_wrong_clock_opened_opened_now(life: Life) -> None:
    life.put(opened(opened_at=NOW + 30 * DAY))
    assert mended(life)
    assert life.rows(Breaker)[0].opened_at == NOW


@pytest.mark.parametrize("ahead", [SECOND, 30 * DAY])
def test_a_suspicion_of_a_wrong_clock_is_of_now(life: Life, ahead: timedelta) -> None:
    life.edit("anna", suspected_at=NOW + ahead)
    assert mended(life)
    assert life.voice("anna").suspected_at == NOW


def test_a_control_call_of_a_wrong_clock_was_made_now(life: Life) -> None:
    life.edit("anna", suspected_at=NOW, controlled_at=NOW + DAY, next_at=NOW + 30 * DAY)
    assert mended(life)
    assert life.voice("anna").controlled_at == NOW


@pytest.mark.parametrize(("ahead", "wrong"), [(25 * HOUR, False), (25 * HOUR + SECOND, True)])
@pytest.mark.parametrize("column", ["tell_at", "send_at"])
def test_an_alert_waits_for_its_turn_unless_a_wrong_clock_set_it(
    life: Life, column: str, ahead: timedelta, *, wrong: bool
) -> None:
    alert = Alert(
        kind=AlertKind.BLOCKED,
        model=FLASH,
        level="error",
        cause="402",
        since=NOW,
        told=1,
        tell_at=NOW,
    )
    alert.tell_at = NOW
    setattr(alert, column, NOW + ahead)
    life.put(alert)
    assert mended(life) is wrong
    assert getattr(life.rows(Alert)[0], column) == (NOW if wrong else NOW + ahead)


@pytest.mark.parametrize(("late", "wrong"), [(0 * SECOND, False), (SECOND, True)])
def test_a_message_waits_for_its_next_try_unless_a_wrong_clock_set_it(
    life: Life, late: timedelta, *, wrong: bool
) -> None:
    send_at = alerting.latest_send(NOW, life.policy) + late
    life.put(
        Message(
            topic=Topic.LOST,
            place=0,
            level="error",
            title="x",
            body="y",
            made_at=NOW,
            send_at=send_at,
        ),
    )
    assert mended(life) is wrong
    assert life.rows(Message)[0].send_at == (NOW if wrong else send_at)


def test_what_happened_stays_as_it_was_written(life: Life) -> None:
    ahead = NOW + 30 * DAY
    life.edit("anna", last_used_at=ahead, anchored_at=ahead, next_at=ahead + 3 * DAY)
    assert mended(life)
    anna = life.voice("anna")
    assert (anna.last_used_at, anna.anchored_at) == (ahead, ahead)
    assert anna.next_at == NOW


def test_where_nothing_can_be_read_it_is_mended_all_the_same(life: Life) -> None:
    life.edit("anna", next_at=NOW + 30 * DAY)
    with life.database.writing() as session:
        session.execute(sa.text("UPDATE voice SET suspected_at = NULL"))
        session.execute(sa.text("UPDATE active SET started_at = 'then', last_pass_at = 'then'"))
        wrong = due.look(session, now=NOW, policy=life.policy).wrong
        assert wrong is not None
        due.mend(session, wrong, now=NOW, policy=life.policy)
    assert life.voice("anna").next_at == NOW
    assert life.voice("anna").last_used_at == NOW - 0 * MINUTE


@pytest.mark.parametrize(("ahead", "wrong"), [(HOUR, False), (HOUR + SECOND, True)])
def test_a_voice_whose_last_use_lies_ahead_is_due_once(
    life: Life, ahead: timedelta, *, wrong: bool
) -> None:
    life.edit("anna", anchored_at=NOW + ahead, last_used_at=NOW + ahead, next_at=NOW + 2 * DAY)
    assert mended(life) is wrong
    assert life.voice("anna").next_at == (NOW if wrong else NOW + 2 * DAY)


def test_a_voice_whose_last_use_lies_ahead_is_paid_for_once_and_keeps_its_backoff(
    life: Life,
) -> None:
    life.edit("anna", anchored_at=NOW + 5 * DAY, last_used_at=NOW + 5 * DAY, next_at=NOW + 2 * DAY)
    life.live(MINUTE)
    life.live(2 * DAY)
    assert life.books().speech == 1
    life.edit("anna", anchored_at=NOW + 9 * DAY, last_used_at=NOW + 9 * DAY, next_at=NOW + 3 * DAY)
    life.upstream.trouble = lambda _: CallFailed("busy", code=429)
    before = len(life.upstream.submitted("id-anna"))
    life.live(2 * MINUTE)
    assert len(life.upstream.submitted("id-anna")) - before <= 3


@pytest.mark.parametrize(("used", "tried"), [(4 * DAY, True), (14 * DAY + SECOND, False)])
def test_a_lost_voice_that_a_clock_ahead_gave_up_is_tried_again(
    life: Life, used: timedelta, *, tried: bool
) -> None:
    life.edit("anna", status=Status.LOST, anchored_at=NOW - used, next_at=None)
    life.worklist.claim(now=NOW + 30 * DAY, policy=life.policy, calls=0, polls=0)
    assert mended(life)
    assert life.voice("anna").next_at == (NOW if tried else None)
