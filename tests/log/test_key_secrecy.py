"""The API key is found nowhere after a full run, with a gateway that repeats it wherever it can.

The daemon, the gateway and every command are real processes. What is searched is all that they
leave and tell; and that the search finds what is there is held too, place by place.
"""

import base64
import itertools
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.daemon_support import Daemon, Host, fast_gateway, until
from tests.receiver import Receiver
from tests.support import MINUTE, imported, wanted
from tests.web_support import free_port
from voicekeeper.config import find_api_key, load
from voicekeeper.sandbox import Answer, Gateway, SandboxServer

CODES: dict[str, Callable[[str], str]] = {
    "percent-encoded": lambda text: "".join(f"%{ord(character):02X}" for character in text),
    "escaped": lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
    "entities": lambda text: "".join(f"&#{ord(character)};" for character in text),
}


@dataclass(frozen=True)
class Secret:
    """A key to look for.

    Every way to write it, in JSON, HTML, SQL or a URL, leaves its three parts as they are.
    """

    parts: tuple[str, str, str]

    @property
    def text(self) -> str:
        return 'sk-{}/"{}\\%{}'.format(*self.parts)

    def needles(self) -> Iterator[bytes]:
        """Yield what gives it away: each part of it in any code, and the whole in base64."""
        for part in self.parts:
            for spelled in (part, f"{part[:5]} {part[5:]}", *(of(part) for of in CODES.values())):
                yield spelled.encode()
        for before in range(3):  # it may begin at any of three places in a group
            coded = base64.b64encode(b"-" * before + self.text.encode())
            yield coded[4 : -(len(coded) % 4) - 4]

    def leaks(self, places: Mapping[str, bytes]) -> list[str]:
        """Return the places that give it away."""
        given_away = list(self.needles())
        return [place for place, told in places.items() if any(each in told for each in given_away)]


SECRET = Secret(("7Hq2Zu9Xv", "LanternKd4", "Harbor77wq"))
KEY = SECRET.text

CODED = base64.b64encode(f"Bearer {KEY}".encode()).decode()
SPLIT = KEY.replace(SECRET.parts[1], f"{SECRET.parts[1][:5]}\n{SECRET.parts[1][5:]}")
WAYS = itertools.cycle(
    [KEY, KEY.replace("/", "%2F"), *(code(KEY) for code in CODES.values()), CODED, SPLIT]
)
"""In which the gateway repeats it, each time in another."""

BUG = """
import os, pathlib
from voicekeeper.daemon import keeper

sweep, turns = keeper.Keeper.sweep, []

async def failing(self):
    turns.append(1)
    if len(turns) == 2:
        key = pathlib.Path(os.environ["VOICEKEEPER_UPSTREAM__API_KEY_FILE"]).read_text().strip()
        try:
            raise ValueError({"Authorization": "Bearer " + key})
        except ValueError as error:
            raise RuntimeError("no header " + repr(key)) from error
    return await sweep(self)

keeper.Keeper.sweep = failing
"""
"""Python runs a module of the name ``sitecustomize`` before the program."""


class Parrot(Gateway):
    """A gateway that repeats the key it is called with, in each answer that has room for words."""

    refuses = False

    def generate(
        self, model: str, body: object, now: datetime, key: str | None, **rest: str | None
    ) -> Answer:
        if self.refuses:
            return Answer(401, f"Incorrect API key provided: {next(WAYS)}")
        return self._repeating(super().generate(model, body, now, key, **rest))  # type: ignore[arg-type]

    def status(self, model: str, task_id: str | None, now: datetime, key: str | None) -> Answer:
        if self.refuses:
            return Answer(401, f"Incorrect API key provided: {next(WAYS)}")
        return self._repeating(super().status(model, task_id, now, key))

    def _repeating(self, answer: Answer) -> Answer:
        data, spelled = answer.data, next(WAYS)
        if isinstance(data, dict):
            data = data | {"note": KEY}
            if "failMsg" in data:
                data["failMsg"] = f"refused for {spelled}"
            if "resultJson" in data:
                url = f".invalid/{quote(KEY, safe='')}"
                data["resultJson"] = data["resultJson"].replace(".invalid/", url)
        return Answer(answer.code, f"{answer.message} for {spelled}", data)


def processes() -> dict[str, bytes]:
    """Return the command line and the environment of every process that we may look at."""
    told = {}
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                told[f"/proc/{process.name}/{name}"] = (process / name).read_bytes()
            except OSError:  # it has ended, or is not ours
                continue
    return told


def files(directory: Path) -> dict[str, bytes]:
    """Return every file under a directory but the key's own; of a database, its rows too."""
    found = {}
    for file in sorted(directory.rglob("*")):
        if file.is_file() and file.name != "key.secret":
            name = str(file.relative_to(directory))
            found[name] = file.read_bytes()
            if found[name].startswith(b"SQLite format 3"):  # a text may go over two pages
                with closing(sqlite3.connect(file)) as database:
                    found[f"rows of {name}"] = "\n".join(database.iterdump()).encode()
    return found


class Run:
    """A host on which everything happens once, and what was told there, by place."""

    def __init__(
        self, directory: Path, server: SandboxServer, receiver: Receiver, hook: int
    ) -> None:
        self.directory = directory
        self._web = free_port()
        (directory / "key.secret").write_text(f"{KEY}\n")
        (directory / "tmp").mkdir()
        (directory / "run").mkdir()
        self.host = Host(
            directory,
            server.base_url,
            UPSTREAM__API_KEY_FILE=str(directory / "key.secret"),
            WEB__LISTEN=f"127.0.0.1:{self._web}",
            WEBHOOK__PUBLIC_URL="https://voices.example.com/webhook",
            WEBHOOK__LISTEN=f"127.0.0.1:{hook}",
            ALERTS__URLS=receiver.url(),
            ALERTS__HEARTBEAT_URL=receiver.web_url(),
            LOG__LEVEL="debug",
            KEEPALIVE__WINDOW="10m",
        )
        self.environ = self.host.environ(
            TMPDIR=str(directory / "tmp"), RUNTIME_DIRECTORY=str(directory / "run")
        )
        self.told: dict[str, bytes] = {}

    def command(self, command: str, code: int = 0) -> None:
        """Run a command to its end, and keep all that it told."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "voicekeeper", *command.split()],
            env=self.environ,
            capture_output=True,
            check=False,
            timeout=60,
        )
        self.told[command] = done.stdout + done.stderr
        assert done.returncode == code, self.told[command]

    def look(self, moment: str) -> None:
        """Keep what processes, files, metrics and page tell now."""
        places = processes() | files(self.directory)
        self.told |= {f"{place} {moment}": told for place, told in places.items()}
        for path in ("/", "/metrics", "/readyz", "/healthz"):
            answer = httpx.get(f"http://127.0.0.1:{self._web}{path}", trust_env=False)
            self.told[f"{path} {moment}"] = f"{answer.headers}\n{answer.text}".encode()

    def heard(self, daemon: Daemon, name: str) -> None:
        """Keep what a daemon that has ended wrote."""
        self.told[f"log of {name}"] = "\n".join(daemon.lines).encode()
        self.told[f"stderr of {name}"] = "\n".join(daemon.words).encode()


@pytest.fixture
def no_core() -> Iterator[None]:
    """Let no process here leave an image of its memory, which would hold all it knows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@pytest.mark.usefixtures("no_core")
def test_the_key_is_found_nowhere_after_a_full_run(tmp_path: Path) -> None:
    hook = free_port()
    gateway = fast_gateway(Parrot, key=KEY, window=10 * MINUTE)
    assert isinstance(gateway, Parrot)
    server = SandboxServer(gateway, callback_to=f"http://127.0.0.1:{hook}")
    with Receiver() as receiver, server:
        run = Run(tmp_path, server, receiver, hook)
        server.import_voice("id-anna")
        run.host.register(imported("anna"), imported("nobody"), wanted("made"))
        with Daemon(["run"], run.environ) as daemon:
            daemon.await_event("keepalive.succeeded", name="anna")
            daemon.await_event("keepalive.failed", name="nobody")
            daemon.await_event("enrollment.succeeded", name="made")
            run.look("while all is well")
            gateway.refuses = True
            daemon.await_event("upstream.blocked")
            daemon.await_event("message.sent", topic="blocked")
            run.command("status", code=2)
            run.command("status --json", code=2)
            run.command("check", code=77)
            run.look("while the key is refused")
            gateway.refuses = False
            daemon.await_event("upstream.recovered")
            for command in ("show nobody", "history nobody", "list", "resolve anna"):
                run.command(command)
                run.command(f"{command} --json")
            for command in ("export", "alerts test", "reload", "add id-other --name other"):
                run.command(command)
            run.command("pause made")
            run.command(f"backup {tmp_path}/copy.db")
            daemon.end(signal.SIGABRT)  # as systemd's watchdog ends one that hangs
            run.heard(daemon, "the daemon that was aborted")
        run.command(f"restore {tmp_path}/copy.db")
        (tmp_path / "sitecustomize.py").write_text(BUG)
        with Daemon(["run"], {**run.environ, "PYTHONPATH": str(tmp_path)}) as daemon:
            daemon.await_event("pass.failed")
            daemon.await_event("keepalive.succeeded", name="anna")
            run.look("after the restore")
            daemon.end(signal.SIGTERM)
            run.heard(daemon, "the last daemon")
        run.told["messages"] = f"{receiver.messages}{receiver.headers}{receiver.pings}".encode()
        run.host.database.close()
    settings = load(None, run.environ)
    found = find_api_key(settings, run.environ)
    run.told["settings"] = f"{settings!r}{settings._asdict()}{found!r}{found.secret}".encode()
    assert found.secret.get_secret_value() == KEY
    assert_all_was_looked_at(run.told, daemon)
    assert SECRET.leaks(run.told) == []


def assert_all_was_looked_at(told: Mapping[str, bytes], daemon: Daemon) -> None:
    """See that each place holds what stands there, so that the key would have been seen too."""
    for place, held in (
        ("rows of voicekeeper.db while the key is refused", b"[API key]"),
        ("rows of copy.db after the restore", b"id-anna"),
        ("log of the daemon that was aborted", b"[API key]"),
        ("stderr of the daemon that was aborted", b"Fatal Python error: Aborted"),
        ("log of the last daemon", b"RuntimeError: no header '[redacted]'"),
        ("log of the last daemon", b"Bearer [redacted]"),
        (f"/proc/{daemon.pid}/environ after the restore", b"VOICEKEEPER_UPSTREAM__BASE_URL"),
        ("/metrics while the key is refused", b'voicekeeper_breaker_open{model="'),
        ("/ while the key is refused", b"[API key]"),
        ("history nobody --json", b"[API key]"),
        ("list", b"[API key]"),
        ("status", b"401"),
        ("check", b"key.secret"),
        ("messages", b"401"),
        ("settings", b"key.secret"),
    ):
        assert held in told[place], (place, told[place][-3000:])
    for kind in ("backups/", "replaced-"):
        name = f"rows of voicekeeper.db.{kind}"
        assert any(place.startswith(name) and b"id-anna" in told[place] for place in told)


@pytest.mark.parametrize(
    "spelled",
    [
        KEY,
        KEY[: len(KEY) // 2],
        KEY[len(KEY) // 2 :],
        repr(KEY),
        base64.b64encode(f"Bearer {KEY}".encode()).decode(),
        base64.b64encode(f"key={KEY}".encode()).decode(),
        KEY.replace('"', "&quot;").replace("/", "%2F"),
        *(code(KEY) for code in CODES.values()),
        KEY.replace("Lante", "Lante "),
    ],
    ids=[
        *("bare", "half", "other half", "repr", "base64", "base64 at another place", "quoted"),
        *(*CODES, "split"),
    ],
)
def test_a_key_that_leaks_would_be_found(tmp_path: Path, spelled: str) -> None:
    with closing(sqlite3.connect(tmp_path / "some.db")) as database:
        database.execute("CREATE TABLE line (text)")
        database.execute("INSERT INTO line VALUES (?)", ("-" * 4000 + spelled + "-" * 9000,))
        database.commit()

    assert "rows of some.db" in SECRET.leaks(files(tmp_path))
    assert SECRET.leaks({"log": b"nothing to see here"}) == []


def test_a_key_that_was_given_in_the_environment_would_be_found(tmp_path: Path) -> None:
    other = Secret(("Vw8kPq3Rtm", "MeadowJs6b", "Copper25xz"))  # the full run may go on beside it
    given = {**os.environ, "VOICEKEEPER_API_KEY": other.text}
    with Daemon(["sandbox", "--port", "0"], given) as process:
        until(lambda: process.lines, "the process runs")
        assert other.leaks(processes()) == [f"/proc/{process.pid}/environ"]
        assert other.leaks(files(tmp_path)) == []
