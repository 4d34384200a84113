"""By which names the page is served, and by which it is not: a name of a stranger leads nowhere."""

import asyncio
import socket
from pathlib import Path

import httpx
import pytest

from tests.support import Life, imported
from tests.web_support import LIMIT_S, free_port, served, settings
from voicekeeper.config import Settings
from voicekeeper.web import site

PATHS = ("/", "/healthz", "/readyz", "/metrics")
CONFIGURED = ("voices.example.com",)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:9464", "192.0.2.7:9464", "[::1]", "[::1]:9464", "[2001:db8::1]"),
        *("localhost", "localhost:9464", "LocalHost", "voicekeeper:9464", "app.localhost:9464"),
        *(
            "voices.example.com",
            "voices.example.com:443",
            "Voices.Example.COM",
            "voices.example.com.",
        ),
    ],
)
def test_addresses_local_names_and_those_of_the_settings_are_served(host: str) -> None:
    assert site.is_served(host, CONFIGURED)


@pytest.mark.parametrize(
    "host",
    [
        *("attacker.example", "attacker.example:9464", "voices.example.com.attacker.example"),
        *("127.0.0.1.attacker.example", "localhost.attacker.example", "evilvoices.example.com"),
        *("example.com", "sub.voices.example.com", "attacker.local", "attacker.internal"),
        *("", ":80", "[::1].attacker.example", "attacker.example@127.0.0.1", "[attacker.example]"),
        *("127.0.0.1:80:80", "a b", "127.0.0.1#attacker.example", "\xe4.example"),
    ],
)
def test_a_name_that_somebody_else_can_own_is_not(host: str) -> None:
    assert not site.is_served(host, CONFIGURED)


def asked(life: Life, chosen: Settings, host: str) -> list[httpx.Response]:
    """Ask for all there is under a name."""
    assert chosen.web.listen is not None
    base = f"http://127.0.0.1:{chosen.web.listen.port}"

    async def ask() -> list[httpx.Response]:
        async with served(life, chosen), httpx.AsyncClient(timeout=LIMIT_S) as client:
            return [await client.get(base + path, headers={"Host": host}) for path in PATHS]

    return asyncio.run(ask())


def test_a_stranger_name_reads_nothing_and_is_told_what_to_do(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))
    answers = asked(life, settings(web=free_port()), "attacker.example")
    assert {answer.status_code for answer in answers} == {421}
    assert {answer.text for answer in answers} == {site.MISDIRECTED_TEXT}
    assert "web.hosts" in site.MISDIRECTED_TEXT


@pytest.mark.parametrize("host", [socket.gethostname(), "voices.example.com:8443"])
def test_a_scraper_that_asks_by_the_hosts_name_or_one_of_the_settings_is_answered(
    tmp_path: Path, host: str
) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))
    page, alive, _, metrics = asked(life, settings(web=free_port(), hosts=CONFIGURED), host)
    assert [page.status_code, alive.status_code, metrics.status_code] == [200] * 3
    assert 'name="anna"' in metrics.text


def test_who_sends_no_host_is_no_browser_and_is_answered(tmp_path: Path) -> None:
    async def ask(life: Life) -> bytes:
        port = free_port()
        async with served(life, settings(web=port)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer

    assert b"200 OK" in asyncio.run(ask(Life(tmp_path)))


def test_a_webhook_on_the_same_port_is_taken_by_whatever_name_the_proxy_hands_on(
    tmp_path: Path,
) -> None:
    async def call(life: Life) -> tuple[int, int]:
        port = free_port()
        async with (
            served(life, settings(web=port, webhook=port)),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) as client,
        ):
            name = {"Host": "hooks.example.com"}
            taken = await client.post(f"/webhook/{'f' * 43}", headers=name)
            return taken.status_code, (await client.get("/", headers=name)).status_code

    assert asyncio.run(call(Life(tmp_path))) == (200, 421)


def test_names_that_a_reload_brings_are_served_at_once(tmp_path: Path) -> None:
    port = free_port()
    chosen = settings(web=port)
    in_force = [chosen]

    async def ask(life: Life) -> list[int]:
        async with (
            served(life, chosen, in_force=lambda: in_force[-1]),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) as client,
        ):
            name = {"Host": "voices.example.com"}
            before = await client.get("/metrics", headers=name)
            in_force.append(settings(web=port, hosts=CONFIGURED))
            after = await client.get("/metrics", headers=name)
            return [before.status_code, after.status_code]

    assert asyncio.run(ask(Life(tmp_path))) == [421, 200]
