"""A fixed ``now``, the default settings as values, and rows to try the rules on."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from voicekeeper.core.models import Kind, Origin, Status, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)

POLICY = Policy(
    window=7 * DAY,
    interval=3 * DAY,
    jitter=12 * HOUR,
    prompt="Hello.",
    format="mp3",
    speech_first=20 * SECOND,
    speech_interval=10 * SECOND,
    enrollment_first=20 * SECOND,
    enrollment_interval=10 * SECOND,
    give_up=HOUR,
    retry_base=30 * SECOND,
    retry_cap=HOUR,
    timeout=30 * SECOND,
    requests_per_second=5.0,
    max_in_flight=8,
)


def voice(**columns: Any) -> Voice:  # noqa: ANN401 - any column
    """Return a voice that is OK, was used three days ago, and is being kept."""
    row: dict[str, Any] = {
        "id": 1,
        "name": "anna",
        "model": "cosyvoice-3-flash",
        "voice_id": "cosyvoice-v3-flash-anna",
        "origin": Origin.CLONE,
        "status": Status.OK,
        "created_at": NOW - 30 * DAY,
        "last_used_at": NOW - 3 * DAY,
        "enrolled_at": NOW - 30 * DAY,
        "anchored_at": NOW - 3 * DAY,
        "next_at": NOW + MINUTE,
    }
    return Voice(**row | columns)


def new_voice(**columns: Any) -> Voice:  # noqa: ANN401
    """Return a voice whose enrollment is to be made."""
    return voice(
        **{
            "status": Status.NEW,
            "voice_id": None,
            "last_used_at": None,
            "enrolled_at": None,
            "anchored_at": NOW,
            "next_at": None,
        }
        | columns
    )


def keepalive(**columns: Any) -> Task:  # noqa: ANN401
    """Return the running keepalive of `voice`, sent half a minute ago."""
    row: dict[str, Any] = {
        "id": 10,
        "voice_pk": 1,
        "model": "cosyvoice-3-flash",
        "kind": Kind.KEEPALIVE,
        "state": TaskState.RUNNING,
        "spoken": "cosyvoice-v3-flash-anna",
        "task_id": "task_1",
        "sent_at": NOW - 30 * SECOND,
        "next_poll_at": NOW,
        "polls": 0,
    }
    return Task(**row | columns)


def enrollment(**columns: Any) -> Task:  # noqa: ANN401
    """Return the running clone task of `new_voice`, sent half a minute ago."""
    return keepalive(**{"kind": Kind.CLONE, "spoken": None} | columns)


def spans(least: timedelta, most: timedelta) -> st.SearchStrategy[timedelta]:
    """Return whole-second durations between these two."""
    seconds = st.integers(int(least.total_seconds()), int(most.total_seconds()))
    return seconds.map(lambda count: timedelta(seconds=count))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Return settings that the configuration would take."""
    interval = draw(spans(HOUR, 20 * DAY))
    first, pace = draw(spans(SECOND, MINUTE)), draw(spans(SECOND, MINUTE))
    base = draw(spans(SECOND, 10 * MINUTE))
    return Policy(
        window=interval + draw(spans(SECOND, 20 * DAY)),
        interval=interval,
        jitter=draw(spans(0 * SECOND, interval / 2)),
        prompt="Hello.",
        format="mp3",
        speech_first=first,
        speech_interval=pace,
        enrollment_first=first,
        enrollment_interval=pace,
        give_up=first + pace + draw(spans(0 * SECOND, 2 * DAY)),
        retry_base=base,
        retry_cap=base + draw(spans(0 * SECOND, 2 * DAY)),
        timeout=draw(spans(SECOND, HOUR)),
        requests_per_second=draw(st.floats(0.01, 100)),
        max_in_flight=draw(st.integers(1, 1024)),
    )
