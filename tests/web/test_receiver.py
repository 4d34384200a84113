"""The receiver of webhooks over real HTTP: what it answers, counts and survives."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.support import SECOND, Life
from tests.test_webhook import called_life, everything, token_of
from tests.web_support import LIMIT_S, free_port, served, settings
from voicekeeper.config import Settings
from voicekeeper.core import webhook
from voicekeeper.core.models import Status
from voicekeeper.errors import DatabaseHeld
from voicekeeper.web import listener, receiver
from voicekeeper.web.receiver import Receiver

FORGED = "f" * 43


def one_port() -> Settings:
    """Return settings by which one port serves the page and webhooks."""
    port = free_port()
    return settings(web=port, webhook=port)


async def counts(life: Life, client: httpx.AsyncClient) -> dict[str, float]:
    """Return what was counted of webhooks and connections, once it was looked up."""
    await asyncio.sleep(receiver._LOOK_EVERY_S * 2)  # noqa: SLF001
    life.clock.advance(2 * SECOND)  # for each answer is shared for a second
    text = (await client.get("/metrics")).text
    return {
        line.split('"')[1]: float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith(("voicekeeper_webhooks_total{", "voicekeeper_connections_refused"))
        and '"' in line
    }


def test_a_true_webhook_is_answered_at_once_and_its_voice_is_ok_soon(tmp_path: Path) -> None:
    life, keeper = called_life(tmp_path)

    async def enroll() -> None:
        async with served(life, one_port()) as client:
            await keeper.take_over()
            await life.one_pass()
            life.clock.advance(life.policy.give_up / 10)
            answer = await client.post(f"/webhook/{token_of(0)}", content=b"anything at all")
            assert (answer.status_code, answer.text) == (200, "ok\n")
            async with asyncio.timeout(LIMIT_S):
                while life.voice("anna").status is not Status.OK:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert await counts(life, client) == {"heeded": 1, "unknown": 0}

    asyncio.run(enroll())


@pytest.mark.parametrize(
    ("path", "served_as"),
    [
        ("", "/"),
        ("/hooks", "/hooks/"),
        ("/team/a/voices", "/team/a/voices/"),
        ("/team%20a/h%C3%B6r", "/team%20a/h%C3%B6r/"),
        ("/a(b)+c", "/a(b)+c/"),
        ("/webhook", "/webhook/"),
    ],
)
def test_the_path_of_the_public_url_is_served_and_the_usual_one_for_proxies_that_rewrite(
    tmp_path: Path, path: str, served_as: str
) -> None:
    async def call() -> None:
        chosen = settings(webhook=free_port(), public_url=f"https://voices.example.com{path}")
        async with served(Life(tmp_path), chosen) as client:
            for way in (served_as, "/webhook/"):
                assert (await client.post(f"{way}{FORGED}")).status_code == 200
                trial = await client.post(f"{way}check")
                assert webhook.is_the_receivers(trial.status_code, trial.content)
            assert (await client.post(f"/elsewhere/a/{FORGED}")).status_code == 404

    asyncio.run(call())


def test_what_is_not_the_gateways_is_counted_and_changes_nothing(tmp_path: Path) -> None:
    life, _ = called_life(tmp_path)
    before = everything(life)

    async def strangers() -> None:
        async with served(life, one_port()) as client:

            async def post(token: str, body: bytes = b"{}") -> int:
                return (await client.post(f"/webhook/{token}", content=body)).status_code

            assert await post(FORGED) == 200  # as a true one: nothing is given away
            assert await post("short") == 404
            assert await post("a" * 42 + "%2F") == 404
            assert await post(FORGED, b"a" * (64 * 1024)) == 200
            assert await post(FORGED, b"a" * (64 * 1024 + 1)) == 413
            for method in ("GET", "PUT", "DELETE", "HEAD"):
                answer = await client.request(method, f"/webhook/{FORGED}")
                assert answer.status_code == 405
            assert (await client.post("/webhook/")).status_code == 404
            assert (await client.post(f"/webhook/{FORGED}/more")).status_code == 404
            counted = await counts(life, client)
            assert counted.pop("unknown") in (1, 2)  # the same twice may be one
            assert counted == {"heeded": 0, "malformed": 1, "too_large": 1}

    asyncio.run(strangers())
    assert everything(life) == before
    assert [name for _, name, _ in life.log.lines] == ["listener.opened"]


def test_a_body_that_is_slow_or_breaks_off_ends_with_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = listener.LONGEST_S
    monkeypatch.setattr(listener, "LONGEST_S", 0.2)
    life = Life(tmp_path)

    async def strangers() -> None:
        async with served(life, one_port()) as client:
            for leaves in (False, True):
                reader, writer = await asyncio.open_connection(
                    client.base_url.host, client.base_url.port
                )
                head = f"POST /webhook/{FORGED} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
                writer.write(head.encode() + b"abc")
                await writer.drain()
                if leaves:
                    writer.close()
                    await writer.wait_closed()
                    continue
                with suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()
            monkeypatch.setattr(listener, "LONGEST_S", usual)
            async with asyncio.timeout(LIMIT_S):
                while (await counts(life, client)).get("broken") != 2:
                    pass
            assert await counts(life, client) == {"broken": 2, "slow": 1}

    asyncio.run(strangers())
    assert [name for _, name, _ in life.log.lines] == ["listener.opened"]


@pytest.mark.parametrize("error", [DatabaseHeld("the database is busy"), ZeroDivisionError()])
def test_a_call_whose_look_up_fails_is_looked_up_later(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(receiver, "_BUSY_S", 0.01)
    errors, asked = [error] * 3, list[set[str]]()

    async def heed(digests: Collection[str]) -> int:
        if errors:
            raise errors.pop()
        asked.append(set(digests))
        return 1

    async def come() -> Receiver:
        made = Receiver(heed, "https://voices.example.com/webhook")
        async with made.heeding(), asyncio.timeout(LIMIT_S):
            made._waiting.add("digest")  # noqa: SLF001
            made._came.set()  # noqa: SLF001
            while not made.counts:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.001)
        return made

    assert asyncio.run(come()).counts == {"heeded": 1, "unknown": 0}
    assert asked == [{"digest"}]


def test_when_too_many_wait_the_gateway_is_told_to_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "WAITING_MOST", 0)
    life = Life(tmp_path)

    async def come() -> None:
        async with served(life, one_port()) as client:
            assert (await client.post(f"/webhook/{FORGED}")).status_code == 503
            assert await counts(life, client) == {"crowded": 1}

    asyncio.run(come())


def test_one_port_or_two_serve_the_page_and_the_webhook(tmp_path: Path) -> None:
    life = Life(tmp_path)

    async def ask(chosen: Settings) -> list[int]:
        async with served(life, chosen) as client:
            return [
                (await client.request(method, f"http://{address}{path}")).status_code
                for address in (chosen.web.listen, chosen.webhook.listen)
                for method, path in (("GET", "/metrics"), ("POST", f"/webhook/{FORGED}"))
            ]

    assert asyncio.run(ask(one_port())) == [200, 200, 200, 200]
    two = settings(web=free_port(), webhook=free_port())
    assert asyncio.run(ask(two)) == [200, 404, 404, 200]
