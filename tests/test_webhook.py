"""Webhooks: each enrollment has an address of its own, and only a poll tells what became of it."""

import asyncio
from itertools import count
from pathlib import Path

import pytest
from sqlmodel import col

from tests.support import DAY, HOUR, MINUTE, NOW, SECOND, Call, Life, imported, wanted
from voicekeeper.config import Settings
from voicekeeper.config.settings import Webhook
from voicekeeper.core import webhook
from voicekeeper.core.models import Status, Task, TaskState
from voicekeeper.core.webhook import Callbacks
from voicekeeper.daemon import wiring
from voicekeeper.daemon.keeper import Keeper
from voicekeeper.errors import CallFailed

URL = "https://voices.example.com/webhook"


def tokens() -> Callbacks:
    """Return callbacks whose tokens a test can foretell."""
    numbers = count()
    return Callbacks(URL, lambda: f"{next(numbers):043}")


def token_of(number: int) -> str:
    return f"{number:043}"


def called_life(path: Path, *names: str) -> tuple[Life, Keeper]:
    """Return a life whose enrollments are told of by webhook, and its keeper."""
    life = Life(path)
    life.register(*(wanted(name, prefix=name) for name in names or ("anna",)))
    life.keeper = life.new_keeper(tokens())
    return life, life.keeper


def call(life: Life, *numbers: int) -> int:
    """Let webhooks come."""
    digests = {webhook.digest(token_of(number)) for number in numbers}

    async def come() -> int:
        known = await life.keeper.poll_called_back(digests)
        await life.keeper.settle()
        return known

    return asyncio.run(come())


def polls(life: Life) -> list[Call]:
    return [call for call in life.upstream.calls if call.kind == "status"]


def begin(life: Life) -> None:
    async def beginning() -> None:
        await life.keeper.take_over()
        await life.one_pass()

    asyncio.run(beginning())


# the token


def test_a_token_is_new_each_time_and_nobody_can_guess_it() -> None:
    settings = Settings(webhook=Webhook(public_url=URL))
    callbacks = wiring.callbacks(settings)
    assert callbacks is not None
    made = {callbacks.new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(webhook.is_token(token) for token in made)
    assert wiring.callbacks(Settings()) is None


def test_a_digest_of_the_token_is_in_the_registry_before_the_call_goes_out(tmp_path: Path) -> None:
    life, _ = called_life(tmp_path)
    seen: list[tuple[TaskState, str | None]] = []

    def look(_: Call) -> None:
        seen.extend((task.state, task.token_digest) for task in life.tasks("anna"))

    life.upstream.trouble = look
    begin(life)
    assert seen == [(TaskState.INTENT, webhook.digest(token_of(0)))]
    assert life.upstream.callback_urls == [f"{URL}/{token_of(0)}"]
    life.database.close()
    assert token_of(0).encode() not in life.database.path.read_bytes()


def test_keepalives_ask_for_no_call(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna", last_used_at=NOW - 4 * DAY))
    life.keeper = life.new_keeper(tokens())
    begin(life)
    assert life.upstream.callback_urls == []
    assert [task.token_digest for task in life.tasks("anna")] == [None]


# when a task is asked for


def test_a_webhook_has_its_task_asked_for_at_once(tmp_path: Path) -> None:
    life, _ = called_life(tmp_path)
    begin(life)
    life.clock.advance(4 * MINUTE)
    assert life.voice("anna").status is Status.DEPLOYING
    assert polls(life) == []
    assert call(life, 0) == 1
    assert life.voice("anna").status is Status.OK
    assert len(polls(life)) == 1


def test_without_a_webhook_it_is_asked_for_after_the_gateways_last_try(tmp_path: Path) -> None:
    life, _ = called_life(tmp_path)

    async def live() -> None:
        await life.keeper.take_over()
        await life.run(13 * MINUTE)
        assert polls(life) == []
        await life.run(MINUTE)

    asyncio.run(live())
    assert polls(life)[0].at - NOW == 13 * MINUTE + 20 * SECOND
    assert life.voice("anna").status is Status.OK


def test_a_webhook_that_is_early_leaves_the_polling_at_the_pages_pace(tmp_path: Path) -> None:
    life, _ = called_life(tmp_path)
    begin(life)
    life.clock.advance(SECOND)
    assert call(life, 0) == 1
    assert life.voice("anna").status is Status.DEPLOYING
    (task,) = life.tasks("anna")
    assert task.next_poll_at == NOW + 11 * SECOND


def test_a_webhook_that_is_faster_than_the_answer_to_the_call_is_not_lost(tmp_path: Path) -> None:
    life, keeper = called_life(tmp_path)
    life.upstream.hanging = lambda sent: sent.kind == "submit"

    async def live() -> None:
        await keeper.take_over()
        await keeper.sweep()
        while not life.upstream.calls:  # noqa: ASYNC110 - a fake has no event
            await asyncio.sleep(0)
        assert await keeper.poll_called_back([webhook.digest(token_of(0))]) == 1
        life.upstream.release.set()
        await keeper.settle()
        await life.run(4 * MINUTE)

    asyncio.run(live())
    assert polls(life)[0].at <= NOW + 10 * SECOND
    assert life.voice("anna").status is Status.OK


def test_a_daemon_that_starts_asks_at_once_for_what_it_may_have_missed(tmp_path: Path) -> None:
    life, _ = called_life(tmp_path)
    begin(life)
    life.clock.advance(MINUTE)
    life.keeper = life.new_keeper(tokens())
    begin(life)
    assert [sent.at for sent in polls(life)] == [NOW + MINUTE]


# what changes nothing


def everything(life: Life) -> list[object]:
    return [row.model_dump() for row in [*life.rows(Task), *life.registry.all()]]


@pytest.mark.parametrize("late", [False, True], ids=["again", "late"])
def test_a_webhook_that_comes_again_or_late_or_is_forged_changes_nothing(
    tmp_path: Path, *, late: bool
) -> None:
    life, _ = called_life(tmp_path)
    begin(life)
    assert call(life, *range(1, 500)) == 0
    assert polls(life) == []
    life.clock.advance(HOUR / 2 if late else 4 * MINUTE)
    if late:
        asyncio.run(life.run(MINUTE))
    else:
        assert call(life, 0) == 1
    assert life.voice("anna").status is Status.OK
    before, asked = everything(life), len(polls(life))
    assert call(life, 0) == call(life, *range(500)) == 0
    assert (everything(life), len(polls(life))) == (before, asked)


def test_webhooks_out_of_order_find_each_their_own_task(tmp_path: Path) -> None:
    life, _ = called_life(tmp_path, "anna", "bert", "carl")
    begin(life)
    life.clock.advance(4 * MINUTE)
    digests = {name: life.tasks(name)[0].token_digest for name in ("anna", "bert", "carl")}
    assert call(life, 2) == 1
    assert call(life, 0, 1, 7) == 2
    assert {life.voice(name).status for name in digests} == {Status.OK}
    assert len(polls(life)) == len(set(digests.values())) == 3


def test_a_webhook_of_a_voice_that_was_removed_finds_nothing(tmp_path: Path) -> None:
    life, _ = called_life(tmp_path)
    begin(life)
    life.registry.remove("anna", now=NOW)
    assert call(life, 0) == 0


def test_an_enrollment_that_is_repeated_has_a_new_token(tmp_path: Path) -> None:
    life, _ = called_life(tmp_path)
    life.upstream.trouble = lambda _: (
        CallFailed("again", code=429) if len(life.upstream.calls) == 1 else None
    )

    async def live() -> None:
        await life.keeper.take_over()
        await life.run(2 * MINUTE)

    asyncio.run(live())
    assert life.upstream.callback_urls == [f"{URL}/{token_of(0)}", f"{URL}/{token_of(1)}"]
    assert call(life, 0) == 0
    assert life.rows(Task, col(Task.state) == TaskState.RUNNING)
    assert call(life, 1) == 1
