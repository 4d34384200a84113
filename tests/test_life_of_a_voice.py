"""The whole story, once: a voice is asked for, made, and kept alive for a month.

The command is the real one; from there on time is virtual, and the gateway is the sandbox's.
"""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from freezegun import freeze_time

from tests.support import DAY, HOUR, MINUTE, NOW, SECOND, Life
from voicekeeper.cli.program import program
from voicekeeper.core.models import Status
from voicekeeper.core.requests import FLASH

CLONE = "clone anna --prefix demo01 --audio-url https://example.com/anna.wav"


def test_the_life_of_a_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(tmp_path)
    monkeypatch.setenv("VOICEKEEPER_DATABASE__URL", f"sqlite:///{life.database.path}")

    # A person asks for the voice. The row is there at once; the gateway knows nothing yet.
    with freeze_time(NOW):
        asked = CliRunner().invoke(program, CLONE.split())
    assert asked.exit_code == 0, asked.output
    anna = life.voice("anna")
    assert (anna.status, anna.voice_id, anna.next_at) == (Status.NEW, None, NOW)
    assert life.books().clone == 0

    async def the_enrollment() -> None:
        # The first pass requests it. The gateway reviews and deploys for half a minute or more.
        await life.keeper.take_over()
        await life.one_pass()
        assert life.voice("anna").status is Status.DEPLOYING
        # Soon a poll, at the page's pace, shows the id the voice is going to have.
        while life.voice("anna").voice_id is None:
            await life.run(10 * SECOND)
        anna = life.voice("anna")
        assert (anna.status, anna.next_at) == (Status.DEPLOYING, None)
        assert (anna.voice_id or "").startswith("cosyvoice-v3-flash-demo01-")
        # And then it speaks.
        await life.run(4 * MINUTE)
        assert life.voice("anna").status is Status.OK

    asyncio.run(the_enrollment())
    voice_id = life.voice("anna").voice_id or ""

    # Ten times it is used, each time well before the gateway would delete it.
    async def the_keepalives() -> None:
        while len(life.upstream.submitted(voice_id)) < 10:
            await life.run(12 * HOUR)
        await life.run(MINUTE)

    asyncio.run(the_keepalives())
    spoken_at = [call.at for call in life.upstream.submitted(voice_id)]
    for earlier, later in pairwise([NOW, *spoken_at]):
        assert 2.5 * DAY <= later - earlier <= 3 * DAY + MINUTE

    # Its history tells it all, in order, and the log tells the same.
    made = ["voice.registered", "enrollment.submitted", "voice.status_changed"]
    ready = ["enrollment.succeeded", "voice.status_changed"]
    kept = ["keepalive.submitted", "keepalive.succeeded"] * 10
    assert life.events("anna") == made + ready + kept
    told = [(event, fields) for _, event, fields in life.log.lines if fields.get("name") == "anna"]
    assert [event for event, _ in told if event != "task.polled"] == made + ready + kept
    changes = [fields for event, fields in told if event == "voice.status_changed"]
    assert [(change["from"], change["to"]) for change in changes] == [
        ("NEW", "DEPLOYING"),
        ("DEPLOYING", "OK"),
    ]

    # The gateway's own books agree: one clone was paid for, and the voice lives.
    books = life.books()
    assert (books.clone, books.design, books.speech) == (1, 0, 10)
    book = books.voices[voice_id]
    assert (book.model, book.status, book.alive, book.uses) == (FLASH, "OK", True, 10)
    anna = life.voice("anna")
    assert anna.last_used_at == spoken_at[-1] == book.last_used_at
    assert (anna.status, anna.failures, anna.last_error) == (Status.OK, 0, None)
    assert life.registry.spent(anna).certain == books.cost_micros
