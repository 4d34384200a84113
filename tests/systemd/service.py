"""The installed service on a machine, with the sandbox for its gateway."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.daemon_support import until
from tests.systemd.machine import Done, Machine

KEY = "sk-made-up-0123456789"
GATEWAY = "http://127.0.0.1:8765"
STATE = "/var/lib/voicekeeper"
DATABASE = f"{STATE}/voicekeeper.db"
PYTHON = "/opt/voicekeeper/venv/bin/python"
ROOT = Path(__file__).parents[2]

_FAST: dict[str, dict[str, object]] = {
    "upstream": {
        "base_url": f"{GATEWAY}/api/v1",
        "timeout": "5s",
        "requests_per_second": 50,
        "max_in_flight": 8,
    },
    "keepalive": {"window": "7d", "interval": "3d", "jitter": "0s"},
    "polling": {
        "speech_first": "0.2s",
        "speech_interval": "0.2s",
        "enrollment_first": "0.2s",
        "enrollment_interval": "0.2s",
    },
    "retry": {"base": "0.5s", "cap": "2s"},
    "daemon": {"tick": "0.2s"},
}
SOURCES = (
    "voicekeeper",
    "systemd",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "config.example.toml",
)


def install(machine: Machine, wheels: Path) -> None:
    """Install and start the service on a machine, as a person does who has the key."""
    machine.put(ROOT, "/srv/voicekeeper", *SOURCES)
    machine.put(wheels, "/srv/wheels")
    run_installer(machine, "--from", "voicekeeper", "--key", "-", stdin=KEY)
    started = machine.run("systemctl", "is-active", "voicekeeper").stdout
    assert started == "active\n"


INSTALLER = "/srv/voicekeeper/systemd/install.sh"
PIP = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "/srv/wheels"}
"""With these pip finds packages where they were put, and asks no network."""


def run_installer(machine: Machine, *options: str, stdin: str = "", check: bool = True) -> Done:
    """Run the installer."""
    return machine.run("sh", INSTALLER, *options, stdin=stdin, check=check, **PIP)


def start_gateway(machine: Machine) -> None:
    """Run the sandbox of the installed program on the machine."""
    machine.run(
        *("systemd-run", "--unit=gateway", "/opt/voicekeeper/venv/bin/voicekeeper", "sandbox"),
        *("--key", KEY, "--speech-time", "0.1s-0.2s", "--enrollment-time", "0.2s-0.4s"),
    )
    listens = "import socket; socket.create_connection(('127.0.0.1', 8765))"
    until(
        lambda: machine.run("python3", "-c", listens, check=False).returncode == 0,
        "the sandbox listens",
    )


class Service:
    """``voicekeeper.service``, and what a person at the machine does with it.

    Args:
        machine: where it is installed, and its gateway runs.
        unit: an instance, if it is not the one for a single account.
    """

    def __init__(self, machine: Machine, unit: str = "voicekeeper.service") -> None:
        self.machine = machine
        self.unit = unit
        self._turn = 0

    def fresh(self, *voices: str, **tables: Mapping[str, object]) -> None:
        """Start it with an empty registry, all faults gone, and nothing in the journal.

        Args:
            voices: names of voices to register, which exist at the gateway.
            tables: settings over the fast ones.
        """
        self._turn += 1
        self.stop()
        self.machine.sh(
            f"rm -rf /etc/systemd/system/{self.unit}.d {STATE}/*; systemctl daemon-reload;"
            f"systemctl reset-failed {self.unit}; true"
        )
        self.configure(**tables)
        self.give_key()
        self.faults()
        for voice in voices:
            self.add(voice)
        self.since = self.machine.sh("date +@%s.%N").strip()
        self.systemctl("start")

    def stop(self) -> None:
        self.machine.run("systemctl", "stop", self.unit, check=False)

    def systemctl(self, verb: str, *options: str, check: bool = True) -> Done:
        """Have systemd do something with the unit."""
        return self.machine.run("systemctl", verb, *options, self.unit, check=check)

    def shown(self, key: str) -> str:
        """Return a property of the unit."""
        options = ("--value", "--timestamp=us+utc", "-p", key)
        return self.systemctl("show", *options).stdout.strip()

    def await_shown(self, key: str, value: str) -> None:
        until(lambda: self.shown(key) == value, f"{key} is {value}, and not {self.shown(key)}")

    def drop_in(self, text: str) -> None:
        """Change the unit as ``systemctl edit`` does."""
        self.machine.write(f"/etc/systemd/system/{self.unit}.d/test.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    def configure(self, **tables: Mapping[str, object]) -> None:
        """Write the settings: the fast ones, with these over them."""
        names = dict.fromkeys([*_FAST, *tables])
        lines: list[str] = []
        for name in names:
            lines.append(f"[{name}]")
            values: dict[str, object] = {**_FAST.get(name, {}), **tables.get(name, {})}
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        self.machine.write("/etc/voicekeeper/config.toml", "\n".join(lines) + "\n")

    def give_key(self, key: str = KEY) -> None:
        self.machine.write("/etc/voicekeeper/apixo-api-key", f"{key}\n", mode="600")

    def voicekeeper(self, *arguments: str, check: bool = True) -> Done:
        """Run a command of voicekeeper as root."""
        return self.machine.run("voicekeeper", *arguments, check=check)

    def add(self, name: str, *options: str) -> None:
        """Have a voice at the gateway, and register it."""
        voice = {"voice_id": self.voice_id(name), "model": "cosyvoice-3-flash"}
        self.ask_gateway("POST", "/voices", voice)
        self.voicekeeper("add", self.voice_id(name), "--name", name, *options)

    def voice_id(self, name: str) -> str:
        """Return the gateway's id of a voice that was added since the service was made fresh."""
        return f"id-{name}-{self._turn}"

    def faults(self, *faults: str) -> None:
        """Have things go wrong at the gateway from now on, and nothing else."""
        self.ask_gateway("PUT", "/faults", list(faults))

    def books(self) -> dict[str, Any]:
        """Return the gateway's own truth."""
        books: dict[str, Any] = self.ask_gateway("GET", "/books")
        return books

    def uses(self, name: str) -> int:
        """Return how often the gateway has seen a voice used."""
        uses: int = self.books()["voices"][self.voice_id(name)]["uses"]
        return uses

    def ask_gateway(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        code = (
            "import json, sys, urllib.request\n"
            "method, url, body = sys.argv[1:]\n"
            "kind = {'Content-Type': 'application/json'}\n"
            "call = urllib.request.Request(url, body.encode() or None, kind, method=method)\n"
            "print(urllib.request.urlopen(call).read().decode())"
        )
        written = "" if body is None else json.dumps(body)
        done = self.machine.run("python3", "-c", code, method, GATEWAY + path, written)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def journal(self, *options: str) -> list[dict[str, Any]]:
        """Return the unit's journal since it was last made fresh, as journald has it."""
        done = self.machine.run(
            "journalctl", "-u", self.unit, "--since", self.since, "-o", "json", *options
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    def told(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Return the daemon's lines of an event that have these fields."""
        return [
            line
            for line in self.lines()
            if line["event"] == event and all(line.get(k) == v for k, v in fields.items())
        ]

    def lines(self, *options: str) -> list[dict[str, Any]]:
        """Return the daemon's own lines."""
        entries = self.journal(*options)
        return [json.loads(e["MESSAGE"]) for e in entries if e["MESSAGE"].startswith("{")]

    def await_told(self, event: str, *, count: int = 1, **fields: object) -> None:
        until(lambda: len(self.told(event, **fields)) >= count, f"{event} {fields} is told")

    def query(self, statement: str) -> list[list[Any]]:
        """Read the registry, past voicekeeper."""
        code = (
            "import json, sqlite3, sys\n"
            "rows = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True).execute(sys.argv[2])\n"
            "print(json.dumps(rows.fetchall()))"
        )
        done = self.machine.run("python3", "-c", code, DATABASE, statement)
        rows: list[list[Any]] = json.loads(done.stdout)
        return rows

    @contextmanager
    def registry_locked(self) -> Iterator[None]:
        """Keep every other process from reading or writing the registry."""
        code = (
            "import sqlite3, sys\n"
            "line = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "line.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
        )
        with self.machine.start("python3", "-c", code, DATABASE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            try:
                yield
            finally:
                assert holder.stdin is not None
                holder.stdin.close()


def readme_commands(machine: Machine, heading: str) -> Sequence[str]:
    """Return the lines of the first shell block of a part of the README, as the machine has it."""
    text = machine.run("cat", "/srv/voicekeeper/README.md").stdout
    block = re.search(rf"^## {heading}\n.*?^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1].splitlines()
