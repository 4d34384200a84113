"""The proxy by which a URL is asked for, as a table: variables, what they spare, what is none."""

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.tls_support import certified, needs_openssl
from voicekeeper.errors import ConfigError
from voicekeeper.gateway import http_client

GATEWAY = "https://api.example.com/v1"
P, Q = "http://p.example:3128", "http://q.example:8080"


pytestmark = pytest.mark.usefixtures("no_proxies")


def by(url: str, **environ: str) -> str | None:
    """Return the address of the proxy by which a URL is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        proxy = http_client.proxy_for(httpx.URL(url))
    return None if proxy is None else str(proxy.url)


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"https_proxy": P}, P),
        ({"HTTPS_PROXY": P}, P),
        ({"https_proxy": P, "HTTPS_PROXY": Q}, P),
        ({"all_proxy": P}, P),
        ({"ALL_PROXY": P}, P),
        ({"all_proxy": P, "HTTPS_PROXY": Q}, Q),
        ({"http_proxy": P}, None),
        ({"https_proxy": "", "HTTPS_PROXY": P}, None),  # an empty one takes it back
        ({"https_proxy": "", "all_proxy": P}, P),
        ({"https_proxy": " ", "ALL_PROXY": f" {P}\n"}, P),
        ({"https_proxy": "p.example:3128"}, P),
        ({"https_proxy": "https://p.example"}, "https://p.example"),
        ({"https_proxy": "http://[::1]:3128"}, "http://[::1]:3128"),
        ({"https_proxy": P, "all_proxy": "socks5://127.0.0.1:1080"}, P),
        ({"http_proxy": "socks5://127.0.0.1:1080"}, None),
    ],
)
def test_the_variable_that_counts(environ: dict[str, str], proxy: str | None) -> None:
    assert by(GATEWAY, **environ) == proxy


def test_a_proxy_that_a_caller_of_a_web_server_could_name_counts_for_nothing() -> None:
    url = "http://api.example.com"
    assert by(url, HTTP_PROXY=P) == P
    assert by(url, HTTP_PROXY=P, REQUEST_METHOD="GET") is None
    assert by(url, HTTP_PROXY=P, REQUEST_METHOD="GET", http_proxy=Q) == Q
    assert by(GATEWAY, HTTPS_PROXY=P, REQUEST_METHOD="GET") == P


@pytest.mark.parametrize(
    "value",
    [
        "socks5://user:hidden@127.0.0.1:1080",
        "gopher://user:hidden@proxy:1",
        "http://user:hidden@proxy:99999",
        "http://user:hidden@proxy:0",
        "http://user:hidden@proxy:port",
        "http://user:hidden@[::bad",
        "http://user:hidden@",
        "https://user:hidden@pro xy",
    ],
)
@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_one_that_is_no_proxy_is_told_by_its_variable_and_not_repeated(
    name: str, value: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        by(GATEWAY, **{name: value})
    assert caught.value.problems[0].startswith(f"{name.lower()}: ")
    assert "hidden" not in str(caught.value)
    assert by("http://localhost/", **{name: value}) is None  # where it does not count


@pytest.mark.parametrize(
    ("spared", "url", "straight"),
    [
        ("*", GATEWAY, True),
        ("nowhere, *", GATEWAY, True),
        ("example.com", GATEWAY, True),
        (".example.com", GATEWAY, True),
        ("*.example.com", GATEWAY, True),
        ("EXAMPLE.com.", GATEWAY, True),
        ("api.example.com", "https://api.example.com./v1", True),
        ("a.example api.example.com", GATEWAY, True),
        ("ample.com", GATEWAY, False),
        ("api.example.com.evil", GATEWAY, False),
        ("example.com:443", GATEWAY, True),
        ("example.com:8443", GATEWAY, False),
        ("example.com:8443", "https://api.example.com:8443/", True),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.1.2.3:443", "https://10.1.2.3/", True),
        ("10.1.2.3", "https://[::ffff:10.1.2.3]/", True),
        ("fe80::/10", "https://[fe80::1]/", True),
        ("fe80::/10", "https://[2001:db8::1]/", False),
        ("[2001:db8::1]", "https://[2001:db8:0::1]/", True),
        ("2001:db8::1", "https://[2001:db8::1]/", True),
        ("[2001:db8::1]:443", "https://[2001:db8::1]/", True),
        ("[2001:db8::1]:80", "https://[2001:db8::1]/", False),
        ("[::1],fe80::/10,10.0.0.0/8", GATEWAY, False),
        (",, :,[,*.,.,10.0.0.0/99,[::1", GATEWAY, False),
        ("", GATEWAY, False),
    ],
)  # fmt: skip
def test_what_no_proxy_spares(spared: str, url: str, *, straight: bool) -> None:
    assert (by(url, https_proxy=P, no_proxy=spared) is None) is straight
    assert (by(url, https_proxy=P, NO_PROXY=spared) is None) is straight
    assert by(url, https_proxy=P, no_proxy="", NO_PROXY=spared) == P


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.9", "[::1]"])
def test_this_host_is_never_asked_for_by_a_proxy(host: str) -> None:
    assert by(f"https://{host}:8443/", all_proxy=P) is None


@needs_openssl
@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_client_goes_by_a_tunnel_through_a_real_proxy_with_its_password(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = certified(tmp_path, "DNS:ping.example,IP:127.0.0.1")
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\n\r\n")
        await reader.read()
        await closed(writer)

    async def pipe(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(65_536):
                to.write(piece)
                await to.drain()
        await closed(to)

    async def closed(writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()

    async def main() -> int:
        ended = asyncio.Event()

        async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            far = await asyncio.open_connection(*server.sockets[0].getsockname())
            await asyncio.gather(pipe(reader, far[1]), pipe(far[0], writer))
            ended.set()

        proxy_tls = tls if scheme == "https" else None
        async with (
            await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls) as server,
            await asyncio.start_server(tunnel, "127.0.0.1", 0, ssl=proxy_tls) as proxy,
        ):
            at = f"me:p%40ss@127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
            monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://{at}")
            url = httpx.URL("https://ping.example/1")
            async with http_client.client(url, timeout=10) as client:
                response = await client.get(url)
                assert not client.cookies
            await ended.wait()
            return response.status_code

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    assert asyncio.run(main()) == 204
    assert heard[0].startswith(b"CONNECT ping.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6cEBzcw==" in heard[0]
    assert heard[1].startswith(b"GET /1 HTTP/1.1\r\n")
    assert b"user-agent: voicekeeper/" in heard[1].lower()
    assert b"proxy-authorization" not in heard[1].lower()


ASK = """
import asyncio, sys
from voicekeeper.gateway import http_client
async def main():
    url = http_client.httpx.URL(sys.argv[1])
    async with http_client.client(url, timeout=10) as client:
        print((await client.get(url)).status_code)
try:
    asyncio.run(main())
except http_client.httpx.ConnectError:
    print("not trusted")
"""


@needs_openssl
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another list of authorities")
def test_an_authority_that_the_system_trusts_is_trusted(tmp_path: Path) -> None:
    tls, certificate = certified(tmp_path, "IP:127.0.0.1"), tmp_path / "cert.pem"
    digest = ["openssl", "x509", "-noout", "-hash", "-in", str(certificate)]
    name = subprocess.run(digest, capture_output=True, text=True, check=True, timeout=60).stdout
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    shutil.copy(certificate, trusted / f"{name.strip()}.0")
    over = 'mount --bind "$0" "$1" && shift && exec "$@"'
    system = str(Path(ssl.get_default_verify_paths().openssl_capath).resolve())
    updated = ["unshare", "--mount", "sh", "-c", over, str(trusted), system]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async def asked(*within: str) -> str:
        async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls) as server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            command = [*within, sys.executable, "-c", ASK, url]
            pipe, environ = asyncio.subprocess.PIPE, {"PATH": os.environ["PATH"]}
            asking = await asyncio.create_subprocess_exec(*command, stdout=pipe, env=environ)
            out, _ = await asking.communicate()
            return out.decode().strip()

    assert asyncio.run(asked()) == "not trusted"
    assert asyncio.run(asked(*updated)) == "204"
