"""The contract as it is: observed from outside, by commands, over HTTP and in the log.

Each file of ``tests/contract/golden`` holds one part of it. Nothing here reaches into the program,
so that the same observation can be made of a program that is built otherwise inside.

==============  ================================================================================
help.txt        the help of every command, at 80 columns
exit-codes.txt  every exit code with its meaning, and those of ``status``
settings.txt    every setting with its default, and what is said of values out of bounds
events.txt      the catalogue of the log, and the fields that each event was seen with
reads.txt       the JSON of every reading command: its keys, with the types of their values
metrics.txt     the name, type, help and labels of every metric
http.txt        every path on the daemon's ports, with what it answers
==============  ================================================================================
"""

import json
import re
import signal
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
import httpx

from tests.command import CommandLine
from tests.daemon_support import Host, fast_gateway, until
from tests.receiver import Receiver
from tests.web_support import free_port
from voicekeeper.cli.program import program
from voicekeeper.config import Settings
from voicekeeper.core.duration import compact
from voicekeeper.core.events import Event
from voicekeeper.core.health import Severity
from voicekeeper.errors import EXIT_CODES
from voicekeeper.rehearsal import Simulation, chaos
from voicekeeper.sandbox import SandboxServer

FOLDER: Final = Path(__file__).parent / "golden"

_COMMON: Final = {"timestamp", "level", "event"}
"""The fields of every line of the log."""

_WINDOW: Final = timedelta(hours=1)
"""No voice that the gateway knows is lost while commands are run, however slow the machine."""

_IN_ANY_ORDER: Final = (
    "backup.completed",
    "enrollment.held",
    "heartbeat.failed",
    "message.failed",
    "message.sent",
)

_HEADINGS: Final = re.compile(r"^\[(\w+)\]|^#? ?(\w+) = (.*)$", re.MULTILINE)


def contract(directory: Path) -> Mapping[str, str]:
    """Observe the whole contract.

    Args:
        directory: an empty one, for registries and settings.

    Returns:
        The text of each file, by its name.
    """
    return {**declared(directory), **lived(directory)}


def declared(directory: Path) -> Mapping[str, str]:
    """Observe what the program says of itself; it takes a second."""
    return {
        "help.txt": _help(CommandLine(directory / "help.db")),
        "exit-codes.txt": _exit_codes(),
        "settings.txt": _settings(CommandLine(directory / "settings.db")),
    }


def lived(directory: Path) -> Mapping[str, str]:
    """Observe a daemon at work and rehearsed months; it takes half a minute."""
    life = _Life(directory / "life")
    return {
        "events.txt": _events([*life.lines, *_rehearsed()]),
        "reads.txt": life.reads,
        "metrics.txt": life.metrics,
        "http.txt": life.http,
    }


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _help(cli: CommandLine) -> str:
    commands = [[], *([name] for name in program.list_commands(click.Context(program)))]
    commands.append(["alerts", "test"])
    return "\n".join(
        f"$ voicekeeper {' '.join([*command, '--help'])}\n{cli(*command, '--help').out}"
        for command in commands
    )


def _exit_codes() -> str:
    status = {severity.value: severity.name.lower() for severity in Severity}
    return _lines(
        [f"{code} {words}" for code, words in EXIT_CODES.items()]
        + [f"status {code} {word}" for code, word in status.items()]
    )


def _settings(cli: CommandLine) -> str:
    """Return the example, which holds every default, and the words for values out of bounds."""
    example = (Path(__file__).parents[2] / "config.example.toml").read_text()
    table, keys = "", []
    for found in _HEADINGS.finditer(example):
        if found[1]:
            table = found[1]
        else:
            keys.append((table, found[2], found[3].strip()))
    refused = []
    for value in ('"?"', '""', "0", "-1", '"0s"', "1e12", '"1000000d"', "true", "[1]"):
        path = cli.path.with_name("settings.toml")
        path.write_text(
            "\n".join(
                f"[{name}]\n" + "".join(f"{key} = {value}\n" for of, key, _ in keys if of == name)
                for name in dict.fromkeys(of for of, _, _ in keys)
            )
        )
        words = cli("--config", str(path), "list").err.replace(str(path), "FILE")
        refused += [f"every setting = {value}", *words.splitlines(), ""]
    return _lines([f"{of}.{key} = {default}" for of, key, default in keys] + ["", *refused])


def _rehearsed() -> Iterator[Mapping[str, Any]]:
    """Yield the lines of months in which everything goes wrong."""
    seen: list[Mapping[str, Any]] = []

    class Observed(Simulation):
        def log(self, level: int, event: str, **fields: Any) -> None:  # noqa: ANN401 - a log's
            seen.append({"event": str(event), **fields})
            super().log(level, event, **fields)

    plan = chaos(1, days=120, voices=5)
    Observed(Settings(), plan, voices=5, days=120, seed=1, undated=0.25).run()
    yield from seen


def _events(lines: Iterable[Mapping[str, Any]]) -> str:
    fields = defaultdict[str, set[str]](set)
    for line in lines:
        fields[line["event"]].update(line.keys() - _COMMON)
    return _lines(
        f"{event} ({event.level}) {event.meaning}\n"
        f"    {' '.join(sorted(fields[event])) or 'not seen'}"
        for event in Event
    )


def _shape(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the type at each path of a JSON document; those of a list's items are united."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from _shape(inner, f"{path}.{key}")
        case list():
            for inner in value:
                yield from _shape(inner, f"{path}[]")
        case None:
            yield path, "null"
        case bool():
            yield path, "boolean"
        case int() | float():
            yield path, "number"
        case _:
            yield path, "text"


def _shapes(command: str, documents: Iterable[Any]) -> str:
    types = defaultdict[str, set[str]](set)
    for document in documents:
        for path, name in _shape(document):
            types[path.removeprefix(".")].add(name)
    keys = [f"    {path}: {' or '.join(sorted(names))}" for path, names in types.items()]
    return _lines([f"$ voicekeeper {command}", *keys, ""])


class _Life:
    """A registry's first minute, on the real process, and what can be read of it.

    Attributes:
        lines: of the daemon's log.
        reads, metrics, http: the text of the files of these names.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        with SandboxServer(fast_gateway(window=_WINDOW)) as server:
            self._live(directory, server)

    def _live(self, directory: Path, server: SandboxServer) -> None:
        site, hook, nowhere = (f"127.0.0.1:{free_port()}" for _ in range(3))
        settings = directory / "config.toml"
        settings.touch()
        server.import_voice("cosyvoice-v3-flash-anna")
        with Receiver() as receiver:
            host = Host(
                directory,
                server.base_url,
                WEB__LISTEN=site,
                WEBHOOK__LISTEN=hook,
                WEBHOOK__PUBLIC_URL="https://voices.example.com/webhook",
                POLLING__GIVE_UP="3s",  # the gateway cannot call back, so tasks are asked for soon
                BUDGET__ENROLLMENTS_USD_PER_DAY="0.04",
                ALERTS__URLS=f"{receiver.url()} json://{nowhere}/",
                ALERTS__HEARTBEAT_URL=f"http://{nowhere}/",
                KEEPALIVE__WINDOW=compact(_WINDOW),
                LOG__LEVEL="debug",
            )
            for arguments in (
                ("add", "cosyvoice-v3-flash-anna", "--name", "anna"),
                ("add", "cosyvoice-v3-flash-gone", "--name", "gone"),
                ("add", "cosyvoice-v3-flash-left", "--name", "left"),
                ("clone", "berta", "--prefix", "b01", "--audio-url", "https://example.com/a.wav"),
                ("design", "clara", *_design("clara01")),
                ("design", "held", *_design("held01")),
                ("pause", "anna"),
                ("resume", "anna"),
                ("touch", "anna"),
                ("keep", "anna"),
                ("remove", "left"),
            ):
                assert host.command(*arguments) == 0, arguments
            with host.run(VOICEKEEPER_CONFIG=str(settings)) as daemon:
                daemon.await_event("voice.lost", name="gone")
                daemon.await_event("keepalive.succeeded", name="anna", count=2)
                daemon.await_event("enrollment.succeeded", name="clara")
                for event in _IN_ANY_ORDER:
                    daemon.await_event(event)
                for text, event in (("", "reloaded"), ("no_such_table = 1", "refused")):
                    settings.write_text(text)
                    daemon.send(signal.SIGHUP)
                    daemon.await_event(f"settings.{event}")
                with httpx.Client(trust_env=False) as client:
                    self.http = self._http(client, site, hook)
                    self.metrics = self._metrics(client, f"http://{site}/metrics")
                self.reads = self._reads(host)
                assert daemon.end(signal.SIGTERM) == 0
        self.lines = [json.loads(line) for line in daemon.lines]

    def _reads(self, host: Host) -> str:
        names = ("anna", "berta", "clara", "gone", "held")
        asked: Mapping[str, Iterable[tuple[str, ...]]] = {
            "list --json": [("list", "--json")],
            "show NAME --json": [("show", name, "--json") for name in names],
            "history NAME --json": [("history", name, "--json") for name in names],
            "resolve NAME --json": [("resolve", "anna", "--json")],
            "status --json": [("status", "--json")],
            "export": [("export",)],
        }
        return "\n".join(
            _shapes(command, (d for arguments in each for d in _documents(host, arguments)))
            for command, each in asked.items()
        )

    def _http(self, client: httpx.Client, site: str, hook: str) -> str:
        def answered(method: str, port: str, url: str) -> str:
            answer = client.request(method, f"http://{url}")
            kind = answer.headers.get("content-type", "no body")
            path = url.partition("/")[2]
            return f"{method} {port} /{path}: {answer.status_code} {kind}"

        asked = [("GET", "web", f"{site}/{path}") for path in ("", "healthz", "readyz", "metrics")]
        asked += [("POST", "web", f"{site}/"), ("GET", "web", f"{site}/no-such-path")]
        asked += [("POST", "webhook", f"{hook}/webhook/{'a' * 43}")]
        asked += [("GET", "webhook", f"{hook}/webhook/{'a' * 43}")]
        return _lines(answered(*each) for each in asked)

    def _metrics(self, client: httpx.Client, url: str) -> str:
        def counted() -> str:
            text = client.get(url).text
            return text if "voicekeeper_webhooks_total{" in text else ""

        until(counted, "the webhooks that came are counted")  # a reading is shared for a second
        text = counted()
        told = [line for line in text.splitlines() if line.startswith("#")]
        samples = re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.MULTILINE)
        labels = defaultdict[str, set[str]](set)
        for name, pairs in samples:
            labels[name].update(re.findall(r'(\w+)="', pairs))
        return _lines(
            told + [f"{name}{{{','.join(sorted(each))}}}" for name, each in sorted(labels.items())]
        )


def _documents(host: Host, arguments: tuple[str, ...]) -> list[Any]:
    """Run a reading command; return the JSON that it prints, one document or one a line."""
    with host.run_command(*arguments) as command:
        command.end()
    printed = "\n".join(command.lines)
    try:
        return [json.loads(printed)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in command.lines]


def _design(prefix: str) -> tuple[str, ...]:
    return ("--prefix", prefix, "--prompt", "A warm voice.", "--preview-text", "Hello.")
