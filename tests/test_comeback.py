"""A lost voice comes back: under its name, once per loss, and never paid for on a doubt."""

import asyncio
import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.command import CommandLine
from tests.support import DAY, HOUR, MINUTE, Life, imported, wanted
from voicekeeper import likeness
from voicekeeper.errors import CallFailed
from voicekeeper.models import Origin, Status
from voicekeeper.store import backup
from voicekeeper.store.restore import Copy, restore

CLONES = frozenset({Origin.CLONE})
ALL = frozenset({Origin.CLONE, Origin.DESIGN})


def lived(path: Path, *, recreate: frozenset[Origin] = ALL, **overrides: Any) -> Life:  # noqa: ANN401
    """Return a registry whose voices were made here and have spoken."""
    life = Life(path, recreate=recreate, **overrides)
    life.register(
        imported("other"),
        wanted("cloned", prefix="cloned"),
        wanted("designed", Origin.DESIGN, prefix="designed"),
    )
    life.live(4 * DAY)
    assert [life.voice(name).last_used_at is None for name in ("cloned", "designed")] == [False] * 2
    return life


def lose(life: Life, name: str) -> str:
    """Let the gateway forget a voice; return the id it had."""
    old_id = life.voice(name).voice_id
    assert old_id is not None
    life.gateway.delete_voice(old_id, life.clock.now())
    life.registry.keep(name, now=life.clock.now())
    return old_id


def made(life: Life, prefix: str) -> int:
    return len(life.upstream.submitted(prefix))


def test_a_lost_clone_is_made_again_under_its_name_and_resolves_to_its_new_id(
    tmp_path: Path,
) -> None:
    life = lived(tmp_path, recreate=CLONES)
    old_id = lose(life, "cloned")
    life.live(DAY)
    back = life.voice("cloned")
    assert back.status is Status.OK
    assert back.voice_id != old_id
    assert not likeness.is_another_voice(back)
    assert made(life, "cloned") == 2
    (told,) = life.log.of("voice.recreated")
    assert (told["name"], told["old_voice_id"]) == ("cloned", old_id)
    assert [line["name"] for line in life.log.of("voice.lost")] == ["cloned"]
    resolved = CommandLine(life.database.path, clock=life.clock)("resolve", "cloned")
    assert resolved.out == f"{back.voice_id}\n"
    life.live(7 * DAY)
    assert life.voice("cloned").status is Status.OK


def test_a_second_loss_is_another_loss(tmp_path: Path) -> None:
    life = lived(tmp_path)
    lose(life, "cloned")
    life.live(5 * DAY)
    lose(life, "cloned")
    life.live(DAY)
    assert (life.voice("cloned").status, made(life, "cloned")) == (Status.OK, 3)


def test_a_voice_that_never_spoke_since_it_was_made_is_not_made_again(tmp_path: Path) -> None:
    life = lived(tmp_path)
    lose(life, "cloned")
    life.live(10 * MINUTE)
    assert life.voice("cloned").status is Status.OK
    assert life.voice("cloned").last_used_at is None
    lose(life, "cloned")
    life.live(10 * DAY)
    assert (life.voice("cloned").status, made(life, "cloned")) == (Status.LOST, 2)


@pytest.mark.parametrize(
    ("recreate", "statuses"),
    [
        (frozenset(), [Status.LOST, Status.LOST]),
        (CLONES, [Status.OK, Status.LOST]),
        (ALL, [Status.OK, Status.OK]),
    ],
)
def test_only_what_the_settings_name_is_made_again(
    tmp_path: Path, recreate: frozenset[Origin], statuses: list[Status]
) -> None:
    life = lived(tmp_path, recreate=recreate)
    for name in ("cloned", "designed", "other"):
        lose(life, name)
        life.live(2 * HOUR)
    assert [life.voice(name).status for name in ("cloned", "designed")] == statuses
    assert life.voice("other").status is Status.LOST


def test_a_design_made_again_is_marked_as_another_voice(tmp_path: Path) -> None:
    life = lived(tmp_path)
    lose(life, "designed")
    life.live(2 * HOUR)
    (told,) = life.log.of("voice.recreated")
    assert told["note"] == "not the same voice"
    cli = CommandLine(life.database.path, clock=life.clock)
    ends = {line.split("\t")[0]: line.split("\t")[-1] for line in cli("list").out.splitlines()}
    assert ends == {"cloned": "", "designed": "not the same voice", "other": ""}
    same = {v["name"]: v["same_voice"] for v in cli("list", "--json").json["voices"]}
    assert same == {"cloned": True, "designed": False, "other": True}
    assert "not the same voice" in cli("show", "designed").out
    assert "not the same voice" in cli("history", "designed").out


def test_what_was_lost_before_the_setting_is_made_again_at_the_next_start(tmp_path: Path) -> None:
    life = lived(tmp_path, recreate=frozenset())
    lose(life, "cloned")
    lose(life, "designed")
    life.live(DAY)
    assert made(life, "cloned") == 1
    life.registry.pause("designed", now=life.clock.now())
    life.policy = dataclasses.replace(life.policy, recreate=ALL)
    life.keeper = life.new_keeper()
    life.live(HOUR)
    assert life.voice("cloned").status is Status.OK
    assert life.voice("designed").status is Status.LOST
    assert [line["name"] for line in life.log.of("voice.recreated")] == ["cloned"]


def test_a_comeback_waits_for_the_days_budget(tmp_path: Path) -> None:
    life = lived(tmp_path, enrollments_per_day=30_000)
    life.live(DAY)
    lose(life, "cloned")
    life.live(HOUR)
    lose(life, "designed")
    life.live(HOUR)
    assert life.voice("cloned").status is Status.OK
    assert life.voice("designed").status is Status.NEW
    assert life.voice("designed").held_at is not None
    life.live(DAY)
    assert life.voice("designed").status is Status.OK


def test_a_comeback_whose_answer_is_lost_is_not_repeated(tmp_path: Path) -> None:
    life = lived(tmp_path)
    life.upstream.trouble = lambda call: (
        CallFailed("no answer", ambiguous=True) if call.subject == "cloned" else None
    )
    lose(life, "cloned")
    life.live(10 * DAY)
    assert (life.voice("cloned").status, made(life, "cloned")) == (Status.UNKNOWN, 2)
    life.keeper = life.new_keeper()
    life.live(DAY)
    assert made(life, "cloned") == 2


def test_an_account_that_is_at_fault_makes_nothing_again(tmp_path: Path) -> None:
    life = lived(tmp_path)
    life.upstream.trouble = lambda _: CallFailed("forbidden", code=403)
    for name in ("cloned", "designed", "other"):
        life.registry.keep(name, now=life.clock.now())
    life.live(DAY)
    assert life.log.of("voice.recreated") == []


@pytest.mark.parametrize("by", ["restore", "hand"])
def test_an_older_copy_put_back_does_not_pay_for_a_comeback_again(tmp_path: Path, by: str) -> None:
    life = lived(tmp_path)
    copy = tmp_path / "copy.db"
    backup.write(life.database.path, copy)
    lose(life, "cloned")
    life.live(DAY)
    assert made(life, "cloned") == 2
    life.database.close()
    if by == "restore":
        restore(life.database, Copy(copy), now=life.clock.now(), policy=life.policy)
    else:
        life.database.path.write_bytes(copy.read_bytes())
    life.keeper = life.new_keeper()
    life.live(3 * DAY)
    kept = life.voice("cloned")
    assert (kept.status, made(life, "cloned")) == (Status.LOST, 2)
    assert "not made again by itself: this registry is an older copy" in (kept.last_error or "")
    life.registry.retry("cloned", now=life.clock.now())
    life.live(HOUR)
    assert life.voice("cloned").status is Status.OK


def test_a_crash_in_the_middle_of_a_comeback_pays_once(tmp_path: Path) -> None:
    life = lived(tmp_path)
    lose(life, "cloned")

    async def until_it_is_sent() -> None:
        while made(life, "cloned") < 2:
            await life.run(timedelta(seconds=10))

    asyncio.run(until_it_is_sent())
    life.keeper = life.new_keeper()
    life.live(DAY)
    assert (life.voice("cloned").status, made(life, "cloned")) == (Status.OK, 2)


def test_restarts_say_of_a_voice_that_is_left_to_a_person_once_why(tmp_path: Path) -> None:
    life = lived(tmp_path)
    copy = tmp_path / "copy.db"
    backup.write(life.database.path, copy)
    lose(life, "cloned")
    life.live(DAY)
    life.database.close()
    restore(life.database, Copy(copy), now=life.clock.now(), policy=life.policy)
    life.live(HOUR)
    said = life.voice("cloned").last_error
    for _ in range(3):
        life.live(MINUTE)
    assert life.voice("cloned").last_error == said
    assert (said or "").count("not made again by itself") == 1


def test_a_voice_that_was_lost_on_a_registry_without_notes_is_left_to_a_person_for_good(
    tmp_path: Path,
) -> None:
    life = lived(tmp_path, recreate=frozenset())
    lose(life, "cloned")
    life.live(DAY)
    assert life.voice("cloned").status is Status.LOST
    life.policy = dataclasses.replace(life.policy, recreate=ALL)
    life.database.witness.path.unlink()
    for _ in range(3):
        life.live(4 * DAY)
    assert (life.voice("cloned").status, made(life, "cloned")) == (Status.LOST, 1)
    life.registry.retry("cloned", now=life.clock.now())
    life.live(HOUR)
    assert (life.voice("cloned").status, made(life, "cloned")) == (Status.OK, 2)
