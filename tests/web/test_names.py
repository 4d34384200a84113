"""By which names the page is served, and by which it is not: a name of a stranger leads nowhere."""

import asyncio
import socket
from pathlib import Path

import pytest

from tests.support import Life
from tests.web_support import free_port, served, settings
from voicekeeper.web.serving import MISDIRECTED_TEXT, is_served

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
    assert is_served(host, CONFIGURED)


@pytest.mark.parametrize(
    "host",
    [
        *("attacker.example:9464", "voices.example.com.attacker.example"),
        *("127.0.0.1.attacker.example", "localhost.attacker.example", "evilvoices.example.com"),
        *("attacker.example", "example.com", "sub.voices.example.com"),
        *("attacker.local", "attacker.internal"),
        *("", ":80", "[::1].attacker.example", "attacker.example@127.0.0.1", "[attacker.example]"),
        *("127.0.0.1:80:80", "a b", "127.0.0.1#attacker.example", "\xe4.example"),
    ],
)
def test_a_name_that_somebody_else_can_own_is_not(host: str) -> None:
    assert not is_served(host, CONFIGURED)


@pytest.mark.parametrize(
    ("host", "status"),
    [("attacker.example", 421), (socket.gethostname(), 200), ("voices.example.com:8443", 200)],
)
def test_a_stranger_name_reads_nothing_and_is_told_what_to_do(
    tmp_path: Path, host: str, status: int
) -> None:
    async def ask() -> None:
        async with served(Life(tmp_path), settings(web=free_port(), hosts=CONFIGURED)) as client:
            for path in ("/", "/healthz", "/readyz", "/metrics"):
                answer = await client.get(path, headers={"Host": host})
                assert answer.status_code == status
                assert (answer.text == MISDIRECTED_TEXT) is (status == 421)

    asyncio.run(ask())
    assert "web.hosts" in MISDIRECTED_TEXT


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
        async with served(life, settings(web=port, webhook=port)) as client:
            name = {"Host": "hooks.example.com"}
            taken = await client.post(f"/webhook/{'f' * 43}", headers=name)
            return taken.status_code, (await client.get("/", headers=name)).status_code

    assert asyncio.run(call(Life(tmp_path))) == (200, 421)


def test_names_that_a_reload_brings_are_served_at_once(tmp_path: Path) -> None:
    chosen = settings(web=free_port())
    in_force = [chosen]

    async def ask(life: Life) -> list[int]:
        async with served(life, chosen, in_force=lambda: in_force[-1]) as client:
            name = {"Host": "voices.example.com"}
            before = await client.get("/metrics", headers=name)
            in_force.append(settings(web=0, hosts=CONFIGURED))
            after = await client.get("/metrics", headers=name)
            return [before.status_code, after.status_code]

    assert asyncio.run(ask(Life(tmp_path))) == [421, 200]
