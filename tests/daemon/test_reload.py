"""Taking the settings anew: all or none, and no call that is paid for is repeated or lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.command import CommandLine
from tests.daemon_support import KEY, Daemon, Host, fast_gateway, until
from tests.support import DAY, HOUR, MINUTE, Life, eventually, imported, policy, wanted
from voicekeeper.config import Settings, changed, load, unchangeable
from voicekeeper.core.models import Status, TaskState
from voicekeeper.core.secret import SecretStr
from voicekeeper.daemon import wiring
from voicekeeper.daemon.reload import THE_KEY, Reload
from voicekeeper.daemon.reload_socket import Answer, answering, ask
from voicekeeper.errors import CallFailed, ConfigError, VoicekeeperError
from voicekeeper.sandbox import SandboxServer

pytestmark = pytest.mark.anyio


def settings(**tables: Mapping[str, object]) -> Settings:
    variables = {
        f"VOICEKEEPER_{table}__{key}".upper(): str(value)
        for table, keys in tables.items()
        for key, value in keys.items()
    }
    return load(Path(os.devnull), variables)


# what differs


def test_what_differs_is_told_by_its_path() -> None:
    new = settings(keepalive={"interval": "2d"}, log={"level": "debug"})
    # the jitter follows the interval where that is short
    assert changed(Settings(), new) == ("keepalive.interval", "keepalive.jitter", "log.level")
    assert changed(new, new) == ()


def test_the_database_and_addresses_to_listen_on_cannot_change() -> None:
    fixed = ("database.url", "web.listen", "webhook.public_url")
    assert unchangeable(("upstream.timeout", *fixed)) == tuple(
        f"{path}: cannot change while the daemon runs; restart it, or put the old value back"
        for path in fixed
    )


# the keeper


def adopt(life: Life, **overrides: Any) -> Coroutine[Any, Any, None]:  # noqa: ANN401 - any field
    life.policy = policy(**overrides)
    return life.keeper.adopt(life.policy)


async def test_a_keepalive_that_is_open_is_not_repeated_for_a_shorter_interval(life: Life) -> None:
    life.register(imported("anna"))
    await life.keeper.take_over()
    await life.one_pass()
    assert [task.state for task in life.tasks("anna")] == [TaskState.RUNNING]
    await adopt(life, interval=20 * MINUTE, jitter=timedelta(0))
    await life.run(10 * MINUTE)
    assert [task.state for task in life.tasks("anna")] == [TaskState.SUCCESS]


async def test_calls_under_way_are_neither_cut_nor_repeated(tmp_path: Path) -> None:
    life = Life(tmp_path, max_in_flight=16)
    life.register(*(imported(f"v{n}") for n in range(4)), wanted("made"))
    life.upstream.hanging = lambda call: call.kind == "submit"
    await life.keeper.take_over()
    await life.keeper.sweep()
    await eventually(lambda: len(life.upstream.calls) == 5)
    await adopt(life, max_in_flight=2, interval=2 * HOUR, jitter=timedelta(0))
    await life.keeper.sweep()
    life.upstream.hanging = lambda _: False
    life.upstream.release.set()
    await life.keeper.settle()
    await life.run(HOUR)
    assert (life.books().speech, life.books().clone) == (4, 1)
    assert {voice.status for voice in life.registry.all()} == {Status.OK}


async def test_no_more_calls_than_the_new_settings_allow_are_begun(tmp_path: Path) -> None:
    life = Life(tmp_path, max_in_flight=2)
    life.register(*(imported(f"v{n}") for n in range(8)))
    life.upstream.hanging = lambda _: True
    await life.keeper.take_over()
    await life.keeper.sweep()
    await adopt(life, max_in_flight=6)
    await life.keeper.sweep()
    await eventually(lambda: len(life.upstream.calls) == 3)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(life.upstream.calls) == 3  # of the room for six, polls have a half
    life.upstream.release.set()
    await life.keeper.stop(1)


async def test_enrollments_that_the_old_budget_held_are_looked_at_anew(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=0)
    life.register(wanted("made"))
    await life.keeper.take_over()
    await life.run(HOUR)
    assert life.voice("made").held_at is not None
    await adopt(life, enrollments_per_day=10_000)
    await life.run(HOUR)
    assert life.voice("made").status is Status.OK


async def test_settings_that_the_registry_cannot_take_on_leave_the_old_ones(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.register(imported("anna"))

    def busy(**_: object) -> None:
        raise VoicekeeperError("busy")

    await life.keeper.take_over()
    await life.run(HOUR)
    monkeypatch.setattr(life.worklist, "replan", busy)
    with pytest.raises(VoicekeeperError, match="busy"):
        await life.keeper.adopt(policy(interval=DAY, jitter=timedelta(0)))
    life.policy = policy()
    await life.run(2 * DAY)
    assert life.books().speech == 1


# all or none


class Installation:
    """A real client and keeper, and settings that a test changes."""

    def __init__(self, life: Life, server: SandboxServer) -> None:
        self.written = settings(upstream={"base_url": server.base_url})
        self.key = SecretStr(KEY)
        self.logged: list[tuple[Settings, Sequence[SecretStr]]] = []
        self.life = life

    def load(self) -> Settings:
        return self.written

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[wiring.Assembly, Reload]]:
        """Give the assembly by the settings as they are, and what reloads them."""
        async with wiring.assembly(
            self.written,
            api_key=self.key,
            database=self.life.database,
            clock=self.life.clock,
            log=self.life.log,
        ) as assembly:
            yield (
                assembly,
                Reload(
                    assembly,
                    load=self.load,
                    read_key=lambda _: self.key,
                    configure_log=lambda *given: self.logged.append((given[0], tuple(given[1]))),
                ),
            )


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(fast_gateway(key="sk-new")) as server:
        yield server


async def test_a_reload_puts_settings_and_key_in_force_for_the_next_call(
    tmp_path: Path, server: SandboxServer
) -> None:
    installation = Installation(Life(tmp_path), server)
    server.import_voice("id-anna")
    installation.life.register(imported("anna"))
    async with installation.running() as (assembly, reload):
        await assembly.keeper.take_over()
        await assembly.keeper.sweep()
        await assembly.keeper.settle()
        assert assembly.keeper.key_refused  # by the old key
        installation.key = SecretStr("sk-new")
        installation.written = settings(
            upstream={"base_url": server.base_url, "timeout": "7s"}, log={"level": "debug"}
        )
        assert await reload() == ("upstream.timeout", "log.level", THE_KEY)
        assert reload.settings == installation.written
        await assembly.keeper.upkeep.note_balance()
        assert await reload() == ()
    assert installation.life.log.of("balance.asked")[-1].get("error") is None
    level, secrets = installation.logged[-1]
    assert (level.log.level, [s.get_secret_value() for s in secrets]) == ("debug", [KEY, "sk-new"])


async def test_the_addresses_of_before_a_reload_stay_out_of_the_log(
    tmp_path: Path, server: SandboxServer
) -> None:
    installation = Installation(Life(tmp_path), server)

    def write(address: str) -> None:
        installation.written = settings(
            upstream={"base_url": server.base_url}, alerts={"urls": address}
        )

    write("json://host/token-of-old")
    async with installation.running() as (_, reload):
        write("json://host/token-of-new")
        assert await reload() == ("alerts.urls",)
    _, hidden = installation.logged[-1]  # a message under way goes to the old one still
    words = [secret.get_secret_value() for secret in hidden]
    assert {"token-of-old", "token-of-new"} <= set(words)


async def test_a_reload_of_what_cannot_change_changes_nothing(
    tmp_path: Path, server: SandboxServer
) -> None:
    installation = Installation(Life(tmp_path), server)
    async with installation.running() as (assembly, reload):
        before = reload.settings
        installation.written = settings(
            database={"url": "sqlite:////elsewhere.db"}, keepalive={"interval": "2d"}
        )
        with pytest.raises(ConfigError, match=r"database\.url: cannot change while"):
            await reload()
        assert (reload.settings, assembly.api_key) == (before, SecretStr(KEY))
    assert installation.logged == []


async def test_an_address_that_cannot_be_called_changes_nothing(
    tmp_path: Path, server: SandboxServer
) -> None:
    installation = Installation(Life(tmp_path), server)
    async with installation.running() as (assembly, reload):
        installation.key = SecretStr("sk-new")
        installation.written = settings(upstream={"base_url": "https://xn--zzzzzz999/api"})
        with pytest.raises(ConfigError, match="no usable http or https address"):
            await reload()
        assert assembly.api_key == SecretStr(KEY)


async def test_a_registry_that_is_busy_gives_the_client_its_old_settings_back(
    tmp_path: Path, server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = Installation(Life(tmp_path), server)

    async def refuse(_policy: object) -> None:
        raise VoicekeeperError("busy")

    async with installation.running() as (assembly, reload):
        before = reload.settings
        monkeypatch.setattr(assembly.keeper, "adopt", refuse)
        installation.written = settings(upstream={"base_url": "http://127.0.0.1:1"})
        with pytest.raises(VoicekeeperError, match="busy"):
            await reload()
        assert reload.settings == before
        with pytest.raises(CallFailed, match="401"):  # the old address, and it does answer
            await assembly.gateway.status("t", "cosyvoice-3-flash")


# the process


def test_the_real_process_takes_a_new_file_on_by_a_question_and_by_a_signal(
    tmp_path: Path,
) -> None:
    file, run = tmp_path / "config.toml", tmp_path / "run"
    run.mkdir()
    file.write_text('[keepalive]\nprompt = "Hi."\n')
    with SandboxServer(fast_gateway()) as server:
        host = Host(tmp_path, server.base_url)
        cli = CommandLine(tmp_path / "other.db")
        given = {"VOICEKEEPER_CONFIG": str(file), "RUNTIME_DIRECTORY": str(run)}
        with Daemon(["run"], host.environ(**given)) as daemon:
            daemon.await_event("daemon.ready")
            until((run / "reload").exists, "the daemon can be asked")
            file.write_text('[keepalive]\nprompt = "Ho."\n')
            ended = cli.process("reload", environ=given)
            assert (ended.code, ended.out, ended.err) == (0, "", "")
            daemon.await_event("settings.reloaded", changed=["keepalive.prompt"])
            file.write_text("[keepalive]\nprompt = 1\n")
            ended = cli.process("reload", environ=given)
            assert (ended.code, ended.out) == (78, "")
            assert ended.err.startswith("voicekeeper: the old settings stay in force: 1 problem in")
            daemon.await_event("settings.refused", level="warning")
            daemon.send(signal.SIGHUP)
            daemon.await_event("settings.refused", count=2)
            file.write_text("")
            daemon.send(signal.SIGHUP)
            daemon.await_event("settings.reloaded", count=2)
            assert daemon.end(signal.SIGTERM) == 0, daemon.words
        assert list(run.iterdir()) == []
        ended = cli.process("reload", environ=given)
        assert ended.err.startswith(f"voicekeeper: no daemon answers at {run}/reload")
        assert ended.code == 1


def test_of_two_runtime_directories_the_first_has_the_socket(tmp_path: Path) -> None:
    directories = [tmp_path / "run", tmp_path / "other"]
    for directory in directories:
        directory.mkdir()
    given = {"RUNTIME_DIRECTORY": ":".join(map(str, directories))}
    host, cli = Host(tmp_path, "http://127.0.0.1:1"), CommandLine(tmp_path / "other.db")
    with Daemon(["run"], host.environ(**given)) as daemon:
        until((directories[0] / "reload").exists, "the daemon can be asked")
        ended = cli.process("reload", environ=given)
        assert (ended.code, ended.out, ended.err) == (0, "", "")
        assert daemon.end(signal.SIGTERM) == 0


@pytest.mark.host
@pytest.mark.parametrize(
    ("directory", "why"),
    [
        ("nowhere", "no such file or directory"),
        ("x" * 120, "af_unix path too long"),
        ("taken", "address already in use"),
    ],
)
def test_without_the_socket_voices_are_kept_and_a_hangup_reloads(
    tmp_path: Path, directory: str, why: str
) -> None:
    (tmp_path / ("x" * 120)).mkdir()
    (tmp_path / "taken" / "reload").mkdir(parents=True)
    given = {"RUNTIME_DIRECTORY": str(tmp_path / directory)}
    with SandboxServer(fast_gateway()) as server:
        host = Host(tmp_path, server.base_url, KEEPALIVE__INTERVAL="2s")
        cli = CommandLine(tmp_path / "other.db")
        server.import_voice("id-anna")
        host.register(imported("anna"))
        with Daemon(["run"], host.environ(**given)) as daemon:
            told = daemon.await_event("listener.failed", level="warning")
            assert (told["listen"], told["error"]) == (str(tmp_path / directory), why)
            ended = cli.process("reload", environ=given)
            assert ended.code == 1
            assert "send it SIGHUP; its log tells which settings" in ended.err
            daemon.send(signal.SIGHUP)
            daemon.await_event("settings.reloaded")
            daemon.await_event("keepalive.succeeded", count=2)
            assert daemon.end(signal.SIGTERM) == 0, daemon.words
            assert len(daemon.told("listener.failed")) == 1


def test_outside_of_a_service_the_command_says_what_to_do(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path / "voicekeeper.db")("reload")
    assert (ended.code, ended.out) == (1, "")
    assert "systemctl reload voicekeeper" in ended.err


# the question


def answered(directory: Path, reload: Callable[[], Coroutine[Any, Any, None]]) -> Answer:
    """Ask once, and return the answer."""

    async def story() -> Answer:
        async with answering(directory, reload):
            return await asyncio.to_thread(ask, directory)

    return asyncio.run(story())


def test_the_answer_comes_when_the_reload_is_over(tmp_path: Path) -> None:
    done: list[str] = []

    async def reload() -> None:
        await asyncio.sleep(0.01)
        done.append("reloaded")

    assert answered(tmp_path, reload) == Answer()
    assert done == ["reloaded"]


def test_the_answer_tells_why_a_reload_failed(tmp_path: Path) -> None:
    async def reload() -> None:
        raise ConfigError(["retry.cap: is wrong"], "the file")

    answer = answered(tmp_path, reload)
    assert answer == Answer("1 problem in the file:\n  retry.cap: is wrong", 78)


@pytest.mark.parametrize("said", [b"", b"-" * 2_000_000])
async def test_a_daemon_that_ends_without_an_answer_failed(tmp_path: Path, said: bytes) -> None:
    """One that goes on and on is none: nobody waits for its end."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        if not said:
            writer.close()

    server = await asyncio.start_unix_server(hang_up, tmp_path / "reload")
    with pytest.raises(VoicekeeperError, match="no daemon answers"):
        await asyncio.to_thread(ask, tmp_path)
    server.close()
