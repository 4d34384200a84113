"""The real daemon, real addresses: what arrives, how often, and what nothing of it holds up."""

import signal
import sqlite3
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlmodel import col, select

from tests.crash_at import FROM, VARIABLE, Nursery
from tests.daemon_support import KEY, Host, fast_gateway, until
from tests.receiver import Receiver
from tests.support import imported, wanted
from voicekeeper.core.models import Alert, Message, Status
from voicekeeper.sandbox import SandboxServer

REJECTED = "reject1"
"""The prefix of a clone that the sandbox's review takes away."""

SETTLED = (Status.UNDEPLOYED, Status.UNKNOWN, Status.FAILED)
CAUSE = "INSERT INTO alert "
LEAST_MOMENTS = 5
"""From a cause to its delivery there are more; with fewer the fuse would be broken."""


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(fast_gateway()) as server:
        yield server


@pytest.fixture
def host(tmp_path: Path, server: SandboxServer, receiver: Receiver) -> Iterator[Host]:
    host = Host(tmp_path, server.base_url, ALERTS__URLS=receiver.url())
    yield host
    host.database.close()


def is_told(host: Host) -> bool:
    """Tell whether all that is to be told has arrived."""
    with host.database.reading() as session:
        waits = select(Message.id).where(col(Message.send_at).is_not(None))
        untold = select(Alert.id).where(
            col(Alert.send_at).is_not(None), col(Alert.sent_at).is_(None)
        )
        return all(session.scalars(query).first() is None for query in (waits, untold))


def test_an_alert_arrives_once_and_a_new_daemon_does_not_repeat_it(
    host: Host, receiver: Receiver
) -> None:
    host.register(wanted("anna", prefix=REJECTED))
    with host.run() as daemon:
        daemon.await_event("message.sent", topic="undeployed")
        assert daemon.end(signal.SIGTERM) == 0
        shown = "".join([*daemon.lines, *daemon.words])
    with host.run() as daemon:
        daemon.await_event("daemon.ready")
        host.await_passes(10)
        assert daemon.end(signal.SIGTERM) == 0
        shown += "".join([*daemon.lines, *daemon.words])
    (told,) = receiver.about("anna is UNDEPLOYED")
    assert told.type == "warning"
    assert "What to do: 'voicekeeper show NAME' tells why" in told.body
    assert len(receiver.about("this week")) == 1
    assert "hook-0123456789" not in shown
    assert KEY not in shown + str(receiver.messages) + str(receiver.headers)
    database = sqlite3.connect(host.path)
    dump = "\n".join(database.iterdump())
    database.close()
    assert "anna is UNDEPLOYED" in dump
    assert "hook-0123456789" not in dump
    assert KEY not in dump


@pytest.mark.host
def test_an_address_that_hangs_delays_no_keepalive_and_no_end(
    host: Host, server: SandboxServer, receiver: Receiver
) -> None:
    receiver.flows.clear()
    server.import_voice("id-anna")
    host.register(imported("anna"))
    with host.run() as daemon:
        until(lambda: receiver.came, "the digest hangs")
        daemon.await_event("keepalive.succeeded", name="anna", count=2)
        daemon.await_event("message.failed", topic="digest")
        receiver.flows.set()
        assert daemon.end(signal.SIGTERM) == 0
    assert server.books().voices["id-anna"].alive


def test_a_stop_waits_for_the_message_that_is_under_way(host: Host, receiver: Receiver) -> None:
    receiver.flows.clear()
    with host.run() as daemon:
        until(lambda: receiver.came, "the digest is under way")
        daemon.send(signal.SIGTERM)
        receiver.flows.set()
        assert daemon.end() == 0
    assert len(receiver.messages) == 1
    assert is_told(host)


def test_a_run_once_tells_what_it_found(host: Host, receiver: Receiver) -> None:
    host.register(wanted("anna", prefix=REJECTED))
    with host.run("--once") as once:
        assert once.end() == 1
    assert len(receiver.about("anna is UNDEPLOYED")) == 1
    assert is_told(host)


def test_without_apprise_voices_are_kept_and_a_reload_sends_what_waited_for_it(
    host: Host, server: SandboxServer, receiver: Receiver, tmp_path: Path
) -> None:
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "apprise.py").write_text("raise ImportError")
    server.import_voice("id-anna")
    host.register(imported("anna"))
    with host.run(PYTHONPATH=str(shadow)) as daemon:
        daemon.await_event("keepalive.succeeded", name="anna")
        daemon.await_event("message.failed", topic="digest")
        (warned,) = [e for e in daemon.told("message.failed") if "topic" not in e]
        assert (warned["level"], warned["place"]) == ("warning", "alerts.urls[0] (json)")
        assert warned["error"].endswith(
            f"{sys.executable} -P -m pip install --force-reinstall 'apprise>=2.2,<3'"
        )
        (shadow / "apprise.py").unlink()
        daemon.send(signal.SIGHUP)
        daemon.await_event("message.sent", topic="digest")
        assert daemon.end(signal.SIGTERM) == 0
    assert len(receiver.about("this week")) == 1
    assert "Traceback" not in "".join([*daemon.lines, *daemon.words])


@pytest.mark.usefixtures("no_proxies")
def test_the_heartbeat_goes_by_the_proxy_that_counts_and_calls_of_the_gateway_here_by_none(
    tmp_path: Path, server: SandboxServer, receiver: Receiver
) -> None:
    server.import_voice("id-anna")
    host = Host(
        tmp_path, server.base_url, ALERTS__HEARTBEAT_URL="http://heartbeat.example/ping-0123456789"
    )
    with host.run(
        all_proxy="socks5://127.0.0.1:1",
        http_proxy=f"http://me:pw-0123456789@127.0.0.1:{receiver.port}",
        no_proxy="[::1],fe80::/10,10.0.0.0/8",
    ) as daemon:
        until(lambda: receiver.pings, "a ping comes")  # while no voice is late
        host.register(imported("anna"))
        daemon.await_event("keepalive.succeeded", name="anna")
        assert daemon.end(signal.SIGTERM) == 0
        shown = "".join([*daemon.lines, *daemon.words])
    assert receiver.pings == ["http://heartbeat.example/ping-0123456789"]
    assert KEY not in str(receiver.headers)
    assert "Authorization" not in receiver.headers[0]
    assert "heartbeat.failed" not in shown
    assert "0123456789" not in shown
    host.database.close()


def test_a_reload_takes_addresses_on_or_refuses_them_and_shows_none(
    tmp_path: Path, server: SandboxServer, receiver: Receiver
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("")
    host = Host(tmp_path, server.base_url)
    with host.run(VOICEKEEPER_CONFIG=str(file)) as daemon:
        daemon.await_event("daemon.ready")
        file.write_text(
            f'[alerts]\nurls = ["{receiver.url()}"]\nheartbeat_url = "{receiver.web_url()}"\n'
        )
        daemon.send(signal.SIGHUP)
        changed = ["alerts.urls", "alerts.heartbeat_url"]
        daemon.await_event("settings.reloaded", changed=changed)
        daemon.await_event("message.sent", topic="digest")
        file.write_text('[alerts]\nurls = ["discord://s3cr3t-token"]\n')
        daemon.send(signal.SIGHUP)
        refused = daemon.await_event("settings.refused")
        assert "alerts.urls[0] (discord): apprise does not know" in refused["error"]
        host.register(wanted("anna", prefix=REJECTED))
        daemon.await_event("message.sent", topic="undeployed")  # by the old address
        assert daemon.end(signal.SIGTERM) == 0
        shown = "".join([*daemon.lines, *daemon.words])
    assert len(receiver.about("anna is UNDEPLOYED")) == 1
    assert not [word for word in ("s3cr3t", "0123456789/", "hook-", "ping-") if word in shown]
    host.database.close()


# killed at every point


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


class CutShort:
    """A voice whose review fails, a kill at the n-th moment from then on, a new daemon, and rest.

    Attributes:
        reached: whether the life had so many moments.
        told: how often a message about the voice arrived.
    """

    def __init__(self, directory: Path, nursery: Nursery, moment: int) -> None:
        directory.mkdir()
        self._nursery, self._log = nursery, directory / "log"
        with SandboxServer(fast_gateway()) as server, Receiver() as receiver:
            self._host = Host(
                directory,
                server.base_url,
                ALERTS__URLS=receiver.url(),
                DAEMON__TICK="0.05s",
                POLLING__ENROLLMENT_FIRST="0.1s",
                POLLING__ENROLLMENT_INTERVAL="0.1s",
            )
            self._host.register(wanted("anna", prefix=REJECTED))
            self._run(**{VARIABLE: str(moment), FROM: CAUSE})
            self.reached = self._code == -signal.SIGKILL
            if self.reached:
                self._run()
            assert self._code == 0, self.log()
            self.told = len(receiver.about("anna"))
        self._host.database.close()

    def log(self) -> str:
        return self._log.read_text()

    def _run(self, **environ: str) -> None:
        """Run a daemon until it kills itself, or all is told."""
        settings = self._host.environ(**environ)
        self._code = self._nursery.live(settings, self._log, self._is_at_rest)

    def _is_at_rest(self) -> bool:
        return self._host.voice("anna").status in SETTLED and is_told(self._host)


@pytest.mark.host
def test_an_alert_is_told_whenever_the_daemon_is_killed_and_once_where_it_is_not(
    tmp_path: Path, nursery: Nursery
) -> None:
    for moment in count(1):
        life = CutShort(tmp_path / str(moment), nursery, moment)
        if not life.reached:
            assert life.told == 1, life.log()
            break
        assert 1 <= life.told <= 2, (moment, life.log())
    assert moment > LEAST_MOMENTS
