"""Webhooks with the real daemon: through a real proxy with TLS, and in a storm of forged ones."""

import asyncio
import re
import shutil
import signal
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.command import CommandLine
from tests.daemon_support import KEY, Host, fast_gateway, until
from tests.support import FakeClock, imported, wanted
from tests.tls_support import certified
from tests.web_support import free_port, lead_here
from voicekeeper.core.clock import SystemClock
from voicekeeper.core.models import Status
from voicekeeper.sandbox import SandboxServer

DOCS = Path(__file__).parents[2] / "docs" / "monitoring.md"

needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None or shutil.which("openssl") is None,
    reason="nginx or openssl is not installed (Debian: nginx-light, openssl)",
)


def lines_for(proxy: str) -> str:
    """Return what the docs tell to write into a proxy's configuration."""
    found = re.search(rf"^```{proxy}\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@contextmanager
def nginx(directory: Path, *, https: int, daemon: int) -> Iterator[ssl.SSLContext]:
    """Run nginx by the lines of the docs; give whom its clients are to trust."""
    directory.mkdir()
    certified(directory, "DNS:voices.example.com,IP:127.0.0.1")
    key, certificate = directory / "key.pem", directory / "cert.pem"
    lines = lines_for("nginx").replace("listen 443 ssl", f"listen 127.0.0.1:{https} ssl")
    lines = lines.replace("127.0.0.1:8470", f"127.0.0.1:{daemon}")
    lines = re.sub(r"(ssl_certificate_key +)\S+;", rf"\1{key};", lines)
    lines = re.sub(r"(ssl_certificate +)\S+;", rf"\1{certificate};", lines)
    own = "".join(
        f"{name}_temp_path {directory}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log {directory}/log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{own}{lines}}}\n"
    )
    proxy = subprocess.Popen(["nginx", "-p", str(directory), "-c", f"{directory}/nginx.conf"])
    try:
        yield ssl.create_default_context(cafile=str(certificate))
    finally:
        proxy.terminate()
        proxy.wait(30)


def host_of(directory: Path, server: SandboxServer, port: int, web: int | None = None) -> Host:
    return Host(
        directory,
        server.base_url,
        WEBHOOK__PUBLIC_URL="https://voices.example.com/webhook",
        WEBHOOK__LISTEN=f"127.0.0.1:{port}",
        WEB__LISTEN=f"127.0.0.1:{web or free_port()}",
    )


@needs_nginx
def test_the_gateway_reaches_the_daemon_through_nginx_with_tls(tmp_path: Path) -> None:
    https, port = free_port(), free_port()
    with nginx(tmp_path / "nginx", https=https, daemon=port) as trusted:
        server = SandboxServer(
            fast_gateway(), callback_to=f"https://127.0.0.1:{https}", callback_tls=trusted
        )
        with server:
            web = free_port()
            host = host_of(tmp_path, server, port, web)
            host.register(wanted("anna"))
            with host.run() as daemon:
                daemon.await_event("daemon.ready")
                # Nobody else tells of it: the daemon itself would ask in 13 minutes.
                daemon.await_event("enrollment.succeeded")
                assert host.voice("anna").status is Status.OK
                shown = [httpx.get(f"http://127.0.0.1:{web}{path}") for path in ("/", "/metrics")]
            log = "\n".join(daemon.lines)
    assert [answer.status_code for answer in shown] == [200, 200]
    assert KEY not in log + "".join(answer.text for answer in shown)
    assert "/webhook/" not in log
    (task,) = [task for task in host.tasks("anna") if task.kind.is_enrollment]
    assert (task.polls, task.token_digest) == (1, None)


@needs_nginx
def test_check_goes_the_whole_way_to_the_daemon_and_tells_where_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    https, port = free_port(), free_port()
    lead_here(monkeypatch, "voices.example.com")

    def told(**settings: str) -> str:
        url = f"https://voices.example.com:{https}/webhook"
        environ = {
            "VOICEKEEPER_WEBHOOK__PUBLIC_URL": url,
            "VOICEKEEPER_WEBHOOK__LISTEN": f"127.0.0.1:{port}",
            "VOICEKEEPER_UPSTREAM__BASE_URL": server.base_url,
            "SSL_CERT_FILE": str(tmp_path / "nginx" / "cert.pem"),
        }
        now = FakeClock(SystemClock().now())
        ended = CommandLine(host.path, clock=now)("check", environ=environ | settings)
        (line,) = [line for line in ended.out.splitlines() if " webhook " in line]
        return line

    with (
        nginx(tmp_path / "nginx", https=https, daemon=port),
        SandboxServer(fast_gateway()) as server,
    ):
        host = host_of(tmp_path, server, port)
        host.register(imported("anna"))
        with host.run() as daemon:
            daemon.await_event("listener.opened", listen=f"127.0.0.1:{port}")
            daemon.await_event("daemon.ready")
            assert told().startswith("ok       webhook")
            assert "self-signed certificate" in told(SSL_CERT_FILE="")
            elsewhere = f"https://voices.example.com:{https}/hooks"
            assert "another program, which answers 404" in told(
                VOICEKEEPER_WEBHOOK__PUBLIC_URL=elsewhere
            )
            nowhere = f"127.0.0.1:{free_port()}"
            unheard = told(VOICEKEEPER_WEBHOOK__LISTEN=nowhere)
            assert unheard.startswith("failed   webhook   nothing answers")
            assert daemon.end(signal.SIGTERM) == 0
            assert daemon.told("pass.failed") == []
        assert told().startswith("warning  webhook   nothing answers")


async def storm(port: int, requests: int) -> Counter[bytes]:
    """Send forged webhooks, fifty at a time; return what was answered how often."""
    answers: Counter[bytes] = Counter()
    numbers = iter(range(requests))

    async def send() -> None:
        for number in numbers:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = b"{" * (number % 200)
            head = f"POST /webhook/{number:043} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}"
            writer.write(head.encode() + b"\r\n\r\n" + body)
            with suppress(ConnectionError):
                answers[(await reader.read())[:12]] += 1
            writer.close()

    await asyncio.gather(*(send() for _ in range(50)))
    return answers


@pytest.mark.parametrize(
    "requests",
    [pytest.param(1_000, marks=pytest.mark.host), pytest.param(10_000, marks=pytest.mark.campaign)],
    ids=["some", "many"],
)
def test_a_storm_of_forged_webhooks_changes_nothing_and_costs_little(
    tmp_path: Path, requests: int
) -> None:
    port = free_port()
    gateway = fast_gateway()
    with SandboxServer(gateway, callback_to=f"http://127.0.0.1:{port}") as server:
        host = host_of(tmp_path, server, port)
        host.register_existing(server, "bert")
        with host.run() as daemon:
            daemon.await_event("daemon.ready")
            daemon.await_event("keepalive.succeeded", name="bert")
            asyncio.run(storm(port, 200))
            before = daemon.memory_mib()
            answers = asyncio.run(storm(port, requests))
            grown = daemon.memory_mib() - before
            # Behind the storm, a true one is heeded and voices are kept as ever.
            host.register(wanted("anna"))
            daemon.await_event("enrollment.succeeded", name="anna")
            daemon.await_event("keepalive.succeeded", count=2, name="bert")
            lines = len(daemon.lines)
    assert answers == {b"HTTP/1.1 200": requests}
    assert grown < 10
    assert server.books().voices["id-bert"].alive
    assert lines < 60
    assert daemon.told("pass.failed") == []


@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed (Debian: caddy)")
def test_caddy_understands_the_lines_of_the_docs(tmp_path: Path) -> None:
    (tmp_path / "Caddyfile").write_text(lines_for("caddy"))
    done = subprocess.run(
        ["caddy", "adapt", "--config", str(tmp_path / "Caddyfile")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1:8470" in done.stdout


def test_the_daemon_ends_while_webhooks_come_in(tmp_path: Path) -> None:
    port = free_port()
    with SandboxServer(fast_gateway()) as server:
        host = host_of(tmp_path, server, port)
        with host.run() as daemon:
            until(lambda: len(daemon.told("listener.opened")) == 2)
            daemon.await_event("daemon.ready")
            asyncio.run(storm(port, 50))
            assert daemon.end(signal.SIGTERM) == 0
            assert daemon.words == []
