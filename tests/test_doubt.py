"""Whether an enrollment that waits may have been made already, unknown to this registry."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.examples import DAY, HOUR, MINUTE, NOW, POLICY, SECOND, enrollment, new_voice
from voicekeeper.events import Event
from voicekeeper.lifecycle import Change, Telling
from voicekeeper.lifecycle.enrollment import doubt, doubted
from voicekeeper.models import Status, TaskState
from voicekeeper.schedule import Policy
from voicekeeper.verdict import Blame, Fault

LEASE = POLICY.lease
HOURLY = replace(POLICY, interval=HOUR)


def restored(words: str) -> Fault:
    return Fault(Blame.NOBODY, "restored", words)


def doubted_after(
    asked: timedelta,
    last_pass: timedelta | None,
    *,
    witnessed: bool,
    policy: Policy = POLICY,
) -> bool:
    """Tell whether there is a doubt, so long after the request and the registry's last pass."""
    fault = doubt(
        new_voice(anchored_at=NOW - asked),
        forgotten=None,
        witnessed=witnessed,
        last_pass_at=None if last_pass is None else NOW - last_pass,
        now=NOW,
        policy=policy,
    )
    return fault is not None


@pytest.mark.parametrize("witnessed", [True, False])
def test_what_the_notes_tell_of_and_the_registry_does_not_was_requested_already(
    *, witnessed: bool
) -> None:
    fault = doubt(
        new_voice(),
        forgotten=NOW - HOUR,
        witnessed=witnessed,
        last_pass_at=NOW,
        now=NOW,
        policy=POLICY,
    )
    assert fault == restored(
        "this registry is an older copy, and the voice was requested at 2026-05-01T11:00:00Z "
        "already"
    )


def test_a_copy_put_back_is_doubted_where_no_notes_followed_it() -> None:
    def judged(*, witnessed: bool) -> Fault | None:
        return doubt(
            new_voice(restored_at=NOW - HOUR),
            forgotten=None,
            witnessed=witnessed,
            last_pass_at=NOW,
            now=NOW,
            policy=POLICY,
        )

    assert judged(witnessed=True) is None
    assert judged(witnessed=False) == restored(
        "this registry was put back from a copy at 2026-05-01T11:00:00Z, and no notes tell whether "
        "the voice was requested already"
    )


@pytest.mark.parametrize(
    ("rested", "is_doubted"), [(0 * SECOND, False), (LEASE, False), (LEASE + SECOND, True)]
)
def test_without_notes_a_registry_that_rested_for_longer_than_a_claim_is_doubted(
    rested: timedelta, *, is_doubted: bool
) -> None:
    assert doubted_after(DAY, rested, witnessed=False) is is_doubted


@pytest.mark.parametrize(
    ("policy", "rested", "is_doubted"),
    [
        (POLICY, 3 * DAY, False),
        (POLICY, 3 * DAY + SECOND, True),
        (HOURLY, DAY, False),
        (HOURLY, DAY + SECOND, True),
    ],
)
def test_with_notes_one_that_rested_for_longer_than_a_voice_does_and_a_day_is_doubted(
    policy: Policy, rested: timedelta, *, is_doubted: bool
) -> None:
    assert doubted_after(9 * DAY, rested, witnessed=True, policy=policy) is is_doubted


@pytest.mark.parametrize(
    ("asked", "last_pass", "is_doubted"),
    [
        (MINUTE, 9 * DAY, False),  # requested while the daemon was off
        (9 * DAY, MINUTE, False),
        (MINUTE, None, False),  # no daemon ever ran
        (DAY, None, True),
    ],
)
def test_a_registry_rests_from_its_last_pass_or_the_request_whichever_is_later(
    asked: timedelta, last_pass: timedelta | None, *, is_doubted: bool
) -> None:
    assert doubted_after(asked, last_pass, witnessed=False) is is_doubted


def test_a_doubt_says_how_long_the_registry_rested() -> None:
    fault = doubt(
        new_voice(anchored_at=NOW - 9 * DAY),
        forgotten=None,
        witnessed=True,
        last_pass_at=NOW - 4 * DAY,
        now=NOW,
        policy=POLICY,
    )
    assert fault == restored(
        "the registry rested for 4 d and may be an older copy, so the voice may have been "
        "requested already"
    )


def test_an_enrollment_in_doubt_is_left_to_a_person() -> None:
    task = enrollment(state=TaskState.INTENT, task_id=None, possible_cost_micros=2_000)
    assert doubted(new_voice(failures=1), task, restored("it rested"), now=NOW) == Change(
        voice={
            "status": Status.UNKNOWN,
            "next_at": None,
            "failures": 2,
            "last_error": "restored: it rested",
        },
        task={
            "state": TaskState.UNKNOWN,
            "finished_at": NOW,
            "next_poll_at": None,
            "code": "restored",
            "message": "it rested",
        },
        tellings=(
            Telling(
                Event.ENROLLMENT_FAILED,
                {
                    "code": "restored",
                    "error": "it rested",
                    "task_id": None,
                    "possible_cost_micros": 2_000,
                },
            ),
            Telling(Event.VOICE_STATUS_CHANGED, {"from": Status.NEW, "to": Status.UNKNOWN}),
        ),
    )
