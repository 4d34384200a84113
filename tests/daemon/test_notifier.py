"""Messages in whole lives: one for what one cause does, daily, one all-clear, and never a storm."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col

from tests.support import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    TICK,
    Call,
    Life,
    imported,
    policy,
    wanted,
)
from voicekeeper.core.models import Alert, AlertKind, Message, Status, Topic, Voice
from voicekeeper.core.requests import FLASH
from voicekeeper.daemon.notifier import Notifier
from voicekeeper.errors import CallFailed, DatabaseFull
from voicekeeper.notify import Sender
from voicekeeper.rehearsal.upcoming import next_pass_in
from voicekeeper.store.outbox import Outbox

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_database")]

HOST = "here"


@dataclass(frozen=True, slots=True)
class Sent:
    """What one address was sent."""

    at: datetime
    kind: str
    title: str
    body: str


class Address:
    """An address that takes messages, or refuses them."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.sent: list[Sent] = []
        self.tries = 0
        self.refuses: str | None = None

    def notify(self, title: str, body: str, kind: str) -> str | None:
        self.tries += 1
        if self.refuses is None:
            self.sent.append(Sent(self._clock(), kind, title, body))
        return self.refuses


class Told(Life):
    """A life whose troubles are told to two addresses.

    Attributes:
        addresses: both.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, notifies=True)
        self.addresses = [Address(self.clock.now), Address(self.clock.now)]
        self.notifier = self.new_notifier()

    def new_notifier(self) -> Notifier:
        """Return a notifier, as a process just started would have it."""
        outbox = Outbox(self.database, places=len(self.addresses), host=HOST, tick=TICK)
        senders = [
            Sender(f"alerts.urls[{n}] (fake)", notify=address.notify)
            for n, address in enumerate(self.addresses)
        ]
        return Notifier(self.context, outbox, senders)

    async def one_pass(self) -> bool:
        found = await super().one_pass()
        await self.notifier.look()
        await self.notifier.settle()
        return found

    async def anew(self, duration: timedelta) -> None:
        self.notifier = self.new_notifier()
        await super().anew(duration)

    async def run(self, duration: timedelta) -> None:
        end, in_vain = self.clock.true + duration, 0
        while self.clock.true < end:
            in_vain = 0 if await self.one_pass() else in_vain + 1
            ahead = self._next_look_in(in_vain)
            self.clock.advance(min(-(-ahead // TICK) * TICK, end - self.clock.true))

    def _next_look_in(self, in_vain: int) -> timedelta:
        now = self.clock.now()
        ahead = next_pass_in(self.database, now=now, tick=TICK, in_vain=in_vain)
        rows = [*self.rows(Alert), *self.rows(Message, col(Message.send_at).is_not(None))]
        sends = [row.send_at for row in rows if row.send_at is not None]
        looks: list[timedelta] = [
            max(at - now, MINUTE * (1 if at > now - 5 * MINUTE else 20)) for at in sends
        ]
        return max(TICK, min([ahead, *looks]))

    def sent(self, *, digests: bool = False) -> list[str]:
        """Return the titles of what the first address was sent, without who sent it."""
        told = [sent for sent in self.addresses[0].sent if digests or "this week" not in sent.title]
        return [sent.title.partition(": ")[2] for sent in told]

    def bodies(self) -> list[str]:
        return [sent.body for sent in self.addresses[0].sent if "this week" not in sent.title]


class Mute:
    """What stands in for a notifier where no address is set."""

    async def look(self) -> None:
        """Tell nobody."""

    async def settle(self) -> None:
        """Wait for nothing."""


@pytest.fixture
def life(tmp_path: Path) -> Told:
    return Told(tmp_path)


def gone(life: Told, *names: str) -> None:
    """Register voices that the gateway has not."""
    voices = [imported(name) for name in names]
    life.registry.register(voices, now=life.clock.now(), policy=life.policy)


def empty_account(_: Call) -> Exception:
    return CallFailed("the account is empty", code=402)


# what, and how often


def test_of_voices_that_are_well_only_the_digest_tells(life: Told) -> None:
    life.register(*(imported(f"v{n}") for n in range(3)))
    life.live(8 * DAY)
    assert life.sent() == []
    assert len(life.sent(digests=True)) == 2  # at once, and on Monday


@pytest.mark.sqlite_only
def test_one_cause_of_hundreds_of_troubles_is_one_message(life: Told) -> None:
    names = [f"v{n:04}" for n in range(300)]
    life.register(*(imported(name, last_used_at=NOW - 4 * DAY - 12 * HOUR) for name in names))
    life.upstream.trouble = empty_account
    life.live(DAY + HOUR)
    assert life.sent() == [
        f"all calls of {FLASH} are paused",
        "300 voices are at risk: v0000, v0001, v0002 and 297 more",
        f"all calls of {FLASH} are paused, as before",
    ]
    assert "Why: the account is empty" in life.bodies()[1]
    assert len(life.bodies()[1]) < 1_000
    assert life.addresses[0].sent == life.addresses[1].sent


def test_an_outage_of_days_is_told_daily_and_its_end_once(life: Told) -> None:
    life.register(*(imported(f"v{n}", last_used_at=NOW) for n in range(20)))
    outage = NOW + 2 * DAY, NOW + 5 * DAY
    life.upstream.trouble = lambda call: (
        empty_account(call) if outage[0] < call.at < outage[1] else None
    )
    life.live(6 * DAY)
    paused = f"all calls of {FLASH} are paused"
    assert life.sent() == [
        paused,
        f"{paused}, as before",
        f"{paused}, as before",
        f"all clear, {FLASH} takes calls again",
    ]
    kinds = [s.kind for s in life.addresses[0].sent if "this week" not in s.title]
    assert kinds == ["failure", "failure", "failure", "info"]
    assert "It was: the account is empty" in life.bodies()[-1]


def test_some_that_recover_ride_along_and_the_last_is_the_all_clear(life: Told) -> None:
    life.register(imported("well"))
    gone(life, "anna", "berta")
    life.live(HOUR)
    life.gateway.import_voice("id-anna", FLASH, life.clock.true)
    life.live(DAY)
    assert life.sent()[1:] == ["berta is lost, as before"]
    assert "Over since the last message: anna" in life.bodies()[1]
    life.gateway.import_voice("id-berta", FLASH, life.clock.true)
    life.live(2 * DAY)
    assert life.sent()[-1] == "all clear, berta speaks again"
    assert sum("all clear" in title for title in life.sent()) == 1


def test_what_follows_within_an_hour_waits_for_its_end_and_is_one_message(life: Told) -> None:
    life.register(imported("well"))
    gone(life, "anna")
    life.live(10 * MINUTE)
    assert life.sent() == ["anna is lost"]
    gone(life, "berta")
    life.live(20 * MINUTE)
    gone(life, "carla")
    life.live(20 * MINUTE)
    assert life.sent() == ["anna is lost"]
    life.live(40 * MINUTE)
    assert life.sent()[1:] == ["3 voices are lost: anna, berta and carla, 2 of them new"]


async def test_trouble_that_ends_before_it_is_told_is_told_with_its_end(life: Told) -> None:
    life.register(imported("anna", last_used_at=NOW - 4 * DAY))
    life.upstream.trouble = lambda call: empty_account(call) if call.at == NOW else None
    await life.keeper.take_over()
    while not life.log.of("upstream.recovered"):
        await life.keeper.sweep()
        await life.keeper.settle()
        life.clock.advance(TICK)
    await life.anew(HOUR)
    assert life.sent() == [f"all clear, {FLASH} takes calls again"]
    assert "it lasted from 2026-05-01T12:00:00Z" in life.bodies()[0]


# enrollments


def test_enrollments_that_end_are_told_together_and_once(life: Told) -> None:
    life.register(wanted("anna"), wanted("berta", prefix="berta1"), wanted("carla", prefix="fail1"))
    life.live(3 * HOUR)
    assert life.sent() == ["the enrollment of carla did not succeed; berta and anna were made"]
    life.live(2 * DAY)
    assert len(life.sent()) == 1
    assert life.rows(Alert) == []


def test_an_enrollment_nobody_knows_the_end_of_is_told(life: Told) -> None:
    life.register(wanted("anna"))
    life.upstream.trouble = lambda call: (
        CallFailed("cut off", ambiguous=True) if call.kind == "submit" else None
    )
    life.live(HOUR)
    assert life.voice("anna").status is Status.UNKNOWN
    assert life.sent() == ["the enrollment of anna did not succeed"]
    assert "it is paid for again" in life.bodies()[0]


def test_without_an_address_the_ends_of_enrollments_are_not_noted(life: Told) -> None:
    life.policy = policy()
    life.register(wanted("anna"))
    life.live(HOUR)
    assert life.rows(Alert) == []


# addresses that fail


def test_an_address_that_fails_delays_and_repeats_nothing_at_the_other(life: Told) -> None:
    life.register(imported("well"))
    gone(life, "anna")
    broken, good = life.addresses
    broken.refuses = "HTTP 500"
    life.live(6 * HOUR)
    assert [sent.title.partition(": ")[2] for sent in good.sent][1:] == ["anna is lost"]
    assert broken.sent == []
    assert 10 < broken.tries < 60  # with backoff
    assert len(life.log.of("message.failed")) == 2  # the digest, and the loss
    broken.refuses = None
    life.live(2 * HOUR)
    assert life.sent() == ["anna is lost"]
    assert len(good.sent) == 2


def test_an_address_that_is_down_for_days_gets_no_repeats_and_the_newest_of_a_topic(
    life: Told,
) -> None:
    life.register(imported("well"))
    gone(life, "anna")
    life.policy = policy(retry_cap=4 * HOUR)
    life.addresses[0].refuses = "HTTP 500"
    life.live(2 * DAY + 12 * HOUR)
    assert len(life.addresses[1].sent) == 4  # the digest, and anna three times
    waiting = life.rows(Message, col(Message.send_at).is_not(None))
    assert [row.topic for row in waiting] == [Topic.DIGEST, Topic.LOST]
    gone(life, "berta")
    life.live(5 * HOUR)
    (dropped,) = life.log.of("message.dropped")
    assert dropped["title"] == "voicekeeper on here: anna is lost"
    life.addresses[0].refuses = None
    life.live(5 * HOUR)
    assert life.sent() == ["2 voices are lost: anna and berta, 1 of them new"]


def test_an_address_that_is_taken_from_the_settings_is_sent_nothing_more(life: Told) -> None:
    life.addresses[1].refuses = "HTTP 500"
    life.live(MINUTE)
    del life.addresses[1:]
    life.live(MINUTE)
    assert life.rows(Message, col(Message.send_at).is_not(None)) == []


async def test_what_ended_long_before_there_was_an_address_is_not_told(life: Told) -> None:
    life.register(imported("well"))
    gone(life, "anna")
    told, life.notifier = life.notifier, Mute()  # type: ignore[assignment]
    await Life.anew(life, HOUR)
    life.gateway.import_voice("id-anna", FLASH, life.clock.true)
    await Life.anew(life, 8 * DAY)
    gone(life, "berta")
    await Life.anew(life, HOUR)
    assert len(life.log.of("voice.recovered")) == 1
    life.notifier = told
    await life.anew(HOUR)
    assert life.sent() == ["berta is lost"]


# crashes and troubles of our own


def test_a_message_that_a_crash_cut_short_is_sent_again_at_the_next_start(life: Told) -> None:
    life.register(imported("well"))
    gone(life, "anna")
    life.live(MINUTE)
    taken, dead = [], threading.Event()

    def dying(title: str, body: str, kind: str) -> str | None:
        del body, kind
        taken.append(title)
        dead.wait()  # nobody hears of it any more
        return None

    life.addresses[0].notify = dying  # type: ignore[method-assign]
    life.notifier = life.new_notifier()

    async def cut_short() -> None:
        for _ in range(10):
            life.clock.advance(MINUTE)
            await life.keeper.sweep()
            await life.keeper.settle()
            await life.notifier.look()
            for _ in range(50):
                await asyncio.sleep(0)
        await life.notifier.stop(0)

    asyncio.run(cut_short())
    dead.set()
    assert len([title for title in taken if "lost" in title]) == 1
    del life.addresses[0].notify
    life.live(MINUTE)
    assert life.sent() == ["anna is lost"]


def test_a_full_disk_while_a_message_is_under_way_does_not_send_it_twice(
    life: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicekeeper.daemon.recorder._AGAIN_S", (0.0,))
    arrived, troubles = Outbox.arrived, [DatabaseFull("full")] * 3

    def full_at_first(*args: Any, **options: Any) -> None:  # noqa: ANN401
        if troubles:
            raise troubles.pop()
        arrived(*args, **options)

    monkeypatch.setattr(Outbox, "arrived", full_at_first)
    life.live(HOUR)
    assert len(life.addresses[0].sent) == 1


def test_an_outbox_that_fails_delays_no_keepalive_and_is_told_once(
    life: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DatabaseFull("the disk is full")

    monkeypatch.setattr(Outbox, "gather", full)
    life.register(imported("anna", last_used_at=NOW - 6 * DAY))
    life.live(HOUR)
    assert life.voice("anna").status is Status.OK
    assert len(life.log.of("pass.failed")) == 1


@pytest.mark.sqlite_only  # a server takes no such value
@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE voice SET anchored_at = 'yesterday' WHERE name = 'anna'",
        "UPDATE voice SET anchored_at = 12345 WHERE name = 'anna'",
        "UPDATE alert SET send_at = 'never' WHERE voice_pk = 1",
        "UPDATE alert SET since = 'never' WHERE voice_pk = 1",
    ],
)
def test_a_row_that_cannot_be_read_silences_no_message(life: Told, spoil: str) -> None:
    life.register(imported("anna", last_used_at=NOW), imported("berta", last_used_at=NOW))
    about: dict[str, Any] = {"model": FLASH, "level": "error", "cause": "404"}
    about |= dict.fromkeys(("since", "tell_at", "send_at"), NOW)
    with life.database.writing() as session:
        session.add_all(Alert(kind=AlertKind.LOST, voice_pk=key, **about) for key in (1, 2))
        session.execute(sa.update(Voice).values(status=Status.LOST, next_at=None))
        session.flush()
        session.execute(sa.text(spoil))

    async def minutes() -> None:
        for _ in range(15):
            await life.notifier.look()
            await life.notifier.settle()
            life.clock.advance(MINUTE)

    asyncio.run(minutes())
    titles = [sent.title for sent in life.addresses[0].sent]
    assert any("berta is lost" in title for title in titles)
    assert len([title for title in titles if "this week" in title]) == 1


def test_a_keeper_that_was_deposed_sends_no_more_messages(life: Told) -> None:
    message: dict[str, Any] = {
        "level": "info",
        "title": "a title",
        "body": "",
        "made_at": NOW,
        "send_at": NOW,
    }
    with life.database.writing() as session:
        session.add_all(
            Message(topic=topic, place=0, **message) for topic in (Topic.LOST, Topic.DIGEST)
        )
    notify = life.addresses[0].notify

    def deposed_meanwhile(title: str, body: str, kind: str) -> str | None:
        life.notifier.stand_by()
        return notify(title, body, kind)

    async def look() -> None:
        await life.notifier.look()
        await life.notifier.settle()

    life.addresses[0].notify = deposed_meanwhile  # type: ignore[method-assign]
    life.notifier = life.new_notifier()
    asyncio.run(look())
    assert len(life.addresses[0].sent) == 1
    asyncio.run(look())  # it has taken over again
    assert len(life.addresses[0].sent) == 2


@pytest.mark.parametrize("wrong_by", [30 * DAY, -30 * DAY])
def test_a_clock_that_was_wrong_silences_no_message(life: Told, wrong_by: timedelta) -> None:
    life.register(imported("well"))
    gone(life, "anna")
    life.live(HOUR)
    life.clock.wrong_by = wrong_by
    life.live(2 * HOUR)
    life.clock.wrong_by = timedelta(0)
    before = len(life.sent())
    life.live(DAY + 2 * HOUR)
    assert 1 <= len(life.sent()) - before <= 2


def test_messages_are_kept_for_a_month(life: Told) -> None:
    life.register(imported("anna"))
    life.live(45 * DAY)
    made = [message.made_at for message in life.rows(Message)]
    assert min(made) > life.clock.now() - 38 * DAY  # they go when a digest is made
    assert 2 * 4 <= len(made) <= 2 * 6
