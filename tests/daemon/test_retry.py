"""A lost voice is made again under its name: by `retry`, never by itself, and paid for once."""

import asyncio
from datetime import timedelta
from pathlib import Path

from tests.command import CommandLine
from tests.support import DAY, HOUR, Life, imported, wanted
from voicekeeper.core.enums import is_another_voice
from voicekeeper.core.models import Origin, Status
from voicekeeper.errors import CallFailed


def lived(path: Path) -> Life:
    """Return a registry whose voices were made here and have spoken."""
    life = Life(path)
    life.register(
        imported("other"),
        wanted("cloned", prefix="cloned"),
        wanted("designed", Origin.DESIGN, prefix="designed"),
    )
    life.live(4 * DAY)
    assert [life.voice(name).last_used_at is None for name in ("cloned", "designed")] == [False] * 2
    return life


def lost(life: Life, name: str) -> str:
    """Have the gateway forget a voice; return the id it had."""
    old_id = life.voice(name).voice_id
    assert old_id is not None
    life.gateway.delete_voice(old_id, life.clock.now())
    life.registry.keep(name, now=life.clock.now())
    life.live(DAY)
    assert life.voice(name).status is Status.LOST
    return old_id


def made(life: Life, prefix: str) -> int:
    return len(life.upstream.submitted(prefix))


def test_a_lost_voice_is_not_made_again_by_itself(tmp_path: Path) -> None:
    life = lived(tmp_path)
    lost(life, "cloned")
    life.live(20 * DAY)
    life.live(20 * DAY)
    assert (life.voice("cloned").status, made(life, "cloned")) == (Status.LOST, 1)


def test_a_lost_clone_is_made_again_under_its_name_and_resolves_to_its_new_id(
    tmp_path: Path,
) -> None:
    life = lived(tmp_path)
    old_id = lost(life, "cloned")
    life.registry.retry("cloned", now=life.clock.now())
    life.live(DAY)
    back = life.voice("cloned")
    assert back.status is Status.OK
    assert back.voice_id != old_id
    assert not is_another_voice(back)
    assert made(life, "cloned") == 2
    resolved = CommandLine(life.database.path, clock=life.clock)("resolve", "cloned")
    assert resolved.out == f"{back.voice_id}\n"
    life.live(7 * DAY)
    assert life.voice("cloned").status is Status.OK


def test_a_design_made_again_is_marked_as_another_voice(tmp_path: Path) -> None:
    life = lived(tmp_path)
    lost(life, "designed")
    life.registry.retry("designed", now=life.clock.now())
    life.live(2 * HOUR)
    cli = CommandLine(life.database.path, clock=life.clock)
    ends = {line.split("\t")[0]: line.split("\t")[-1] for line in cli("list").out.splitlines()}
    assert ends == {"cloned": "", "designed": "not the same voice", "other": ""}
    same = {v["name"]: v["same_voice"] for v in cli("list", "--json").json["voices"]}
    assert same == {"cloned": True, "designed": False, "other": True}
    assert "not the same voice" in cli("show", "designed").out


def test_a_crash_in_the_middle_of_a_retry_pays_once(tmp_path: Path) -> None:
    life = lived(tmp_path)
    lost(life, "cloned")
    life.registry.retry("cloned", now=life.clock.now())

    async def until_it_is_sent() -> None:
        while made(life, "cloned") < 2:
            await life.run(timedelta(seconds=10))

    asyncio.run(until_it_is_sent())
    life.live(DAY)
    assert (life.voice("cloned").status, made(life, "cloned")) == (Status.OK, 2)


def test_a_retry_whose_answer_is_lost_is_not_repeated(tmp_path: Path) -> None:
    life = lived(tmp_path)
    lost(life, "cloned")
    life.upstream.trouble = lambda call: (
        CallFailed("no answer", ambiguous=True) if call.subject == "cloned" else None
    )
    life.registry.retry("cloned", now=life.clock.now())
    life.live(10 * DAY)
    assert (life.voice("cloned").status, made(life, "cloned")) == (Status.UNKNOWN, 2)
    life.live(DAY)
    assert made(life, "cloned") == 2
