"""After a restore people are told what holds now, once; not what a copy of last week had to say."""

from pathlib import Path

import pytest

from tests.daemon.test_notifier import Told, empty_account, gone
from tests.support import DAY, HOUR, MINUTE, imported, wanted
from voicekeeper.core.models import Alert, AlertKind, Message, Status
from voicekeeper.store import backup
from voicekeeper.store.restore import Copy, restore

DOWN = "the service is down"


@pytest.fixture
def life(tmp_path: Path) -> Told:
    return Told(tmp_path)


def copied(life: Told) -> Path:
    """Copy the registry."""
    copy = life.database.path.with_name("copy.db")
    backup.write(life.database.path, copy)
    return copy


def put_back(life: Told, copy: Path) -> int:
    """Put the copy back; return how many messages were sent before."""
    life.database.close()
    restore(life.database, Copy(copy), now=life.clock.now(), policy=life.policy)
    return len(life.addresses[0].sent)


def heard_since(life: Told, count: int) -> list[str]:
    """Return the titles of what was sent after so many messages."""
    return [sent.title.partition(": ")[2] for sent in life.addresses[0].sent[count:]]


def refuse(life: Told, reason: str | None) -> None:
    for address in life.addresses:
        address.refuses = reason


def test_messages_that_waited_in_the_copy_are_not_sent_a_week_later(life: Told) -> None:
    life.register(*(imported(f"v{n}") for n in range(3)), wanted("made"))
    life.live(MINUTE)
    refuse(life, DOWN)
    life.live(2 * HOUR)
    assert [row.topic for row in life.rows(Message) if row.send_at] != []
    copy = copied(life)
    refuse(life, None)
    life.live(7 * DAY)
    assert life.sent() == ["made was made"]
    before = put_back(life, copy)
    life.live(3 * HOUR)
    assert heard_since(life, before) == []


def test_trouble_of_the_copys_time_that_is_long_over_is_not_told_nor_its_end(life: Told) -> None:
    life.register(*(imported(f"v{n}") for n in range(20)))
    life.live(HOUR)
    life.upstream.trouble = empty_account
    life.live(6 * DAY + 20 * HOUR)
    assert {row.kind for row in life.rows(Alert)} == {AlertKind.BLOCKED, AlertKind.RISK}
    copy = copied(life)
    life.upstream.trouble = lambda _: None
    life.live(7 * DAY)
    before = put_back(life, copy)
    life.live(3 * HOUR)
    assert heard_since(life, before) == []
    assert {voice.status for voice in life.registry.all()} == {Status.OK}
    assert [row for row in life.rows(Alert) if row.ended_at is None] == []


def test_an_end_that_was_to_be_told_in_the_copy_is_not_told_again(life: Told) -> None:
    life.register(imported("anna"))
    life.live(HOUR)
    life.upstream.trouble = empty_account
    life.live(4 * DAY)
    life.upstream.trouble = lambda _: None
    refuse(life, DOWN)
    life.live(2 * HOUR)
    copy = copied(life)
    refuse(life, None)
    life.live(2 * DAY)
    assert life.sent()[-1].startswith("all clear, ")
    before = put_back(life, copy)
    life.live(3 * HOUR)
    assert heard_since(life, before) == []


def test_trouble_that_goes_on_is_told_once_after_a_grace_and_then_daily(life: Told) -> None:
    life.register(imported("anna"))
    life.live(HOUR)
    life.upstream.trouble = empty_account
    life.live(4 * DAY)
    copy = copied(life)
    before = put_back(life, copy)
    life.live(5 * MINUTE)
    assert heard_since(life, before) == []
    life.live(20 * HOUR)
    assert heard_since(life, before) == ["all calls of cosyvoice-3-flash are paused"]
    life.live(5 * HOUR)
    assert heard_since(life, before)[1:] == [
        "anna is at risk",  # which it comes to be only then
        "all calls of cosyvoice-3-flash are paused, as before",
    ]


def test_a_voice_that_is_lost_in_the_copy_is_told_of_daily_from_the_next_day_on(
    life: Told,
) -> None:
    gone(life, "gone")
    life.live(2 * HOUR)
    copy = copied(life)
    life.live(7 * DAY)
    before = put_back(life, copy)
    life.live(23 * HOUR)
    assert heard_since(life, before) == []
    life.live(2 * HOUR)
    assert heard_since(life, before) == ["gone is lost, as before"]


def test_a_loss_that_nobody_was_told_of_yet_is_told_after_a_restore_too(life: Told) -> None:
    gone(life, "gone")
    life.live(HOUR)
    refuse(life, DOWN)
    gone(life, "gone-too")
    life.live(2 * HOUR)
    copy = copied(life)
    before = put_back(life, copy)
    refuse(life, None)
    life.live(HOUR)
    told = heard_since(life, before)
    assert len(told) == 1
    assert told[0].startswith("2 voices are lost: ")


def test_no_digest_tells_of_a_week_that_the_registry_did_not_see(life: Told) -> None:
    life.register(imported("anna"))
    life.live(HOUR)
    copy = copied(life)
    life.live(9 * DAY)
    before = put_back(life, copy)
    life.live(HOUR)
    assert heard_since(life, before) == []
    life.live(7 * DAY)
    assert len(heard_since(life, before)) == 1
