"""A whole life in virtual time: the real store and keeper, on a gateway and a clock of our own.

Nothing here sleeps, and no socket is opened: time passes only when a test says so.
"""

import asyncio
import dataclasses
import json
import random
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from voicekeeper.config import Settings, policy_of
from voicekeeper.core.models import Active, Origin, Task, Voice
from voicekeeper.core.outcome import Accepted, Report
from voicekeeper.core.requests import FLASH, Request, Speech
from voicekeeper.core.schedule import Policy
from voicekeeper.core.secrecy import Secrets
from voicekeeper.core.webhook import Callbacks
from voicekeeper.daemon.context import Context
from voicekeeper.daemon.keeper import Keeper
from voicekeeper.errors import CallFailed, VoicekeeperError
from voicekeeper.gateway import OnTurn
from voicekeeper.gateway.http_client import httpx
from voicekeeper.gateway.reply import read_reply, read_report
from voicekeeper.rehearsal.upcoming import next_pass_in
from voicekeeper.sandbox import Answer, Books, Gateway
from voicekeeper.store.registry import NewVoice, Registry
from voicekeeper.store.sqlite import SqliteDatabase
from voicekeeper.store.worklist import Worklist

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TICK = 10 * SECOND

LIMIT_S = 30.0

CLONE = {"prefix": "demo01", "audio_url": "https://example.com/a.wav"}
DESIGN = {"prefix": "demo02", "prompt": "Warm.", "preview_text": "Hello."}


def policy(**overrides: Any) -> Policy:  # noqa: ANN401 - any of a policy's fields
    """Return the default settings, some of them replaced."""
    return dataclasses.replace(policy_of(Settings()), **overrides)


class FakeClock:
    """A host's clock that stands still until it is told to go on.

    Attributes:
        true: the time everywhere else.
        wrong_by: how far ahead of that the host's wall clock is.
    """

    def __init__(self, now: datetime = NOW) -> None:
        self.true = now
        self.wrong_by = timedelta(0)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self.true + self.wrong_by

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self.true += by
        self._monotonic += by.total_seconds()


@dataclass(frozen=True, slots=True)
class Call:
    """A call that reached for the gateway: what kind, about what, when.

    ``subject`` is the voice spoken with, the prefix of an enrollment, or the task asked for.
    """

    kind: str
    subject: str
    at: datetime


Trouble = Callable[[Call], Exception | None]


class SandboxUpstream:
    """The port to a `Gateway` in the same process.

    Attributes:
        calls: all that were begun, in order.
        callback_urls: what it was asked to call.
        trouble: says of each call with which exception it ends. What is ambiguous has been done,
            and charged, before its answer is lost.
        hanging: says which calls do not end before `release` is set.
    """

    def __init__(self, gateway: Gateway, clock: FakeClock) -> None:
        self._gateway = gateway
        self._clock = clock
        self.calls: list[Call] = []
        self.callback_urls: list[str] = []
        self.trouble: Trouble = lambda _: None
        self.hanging: Callable[[Call], bool] = lambda _: False
        self.release = asyncio.Event()

    async def submit(
        self,
        request: Request,
        model: str,
        *,
        on_turn: OnTurn | None = None,
        callback_url: str | None = None,
    ) -> Accepted:
        """Hand the request to the gateway."""
        subject = request.voice if isinstance(request, Speech) else request.prefix
        body = {"request_type": "async", "input": request.body()}
        if callback_url is not None:
            self.callback_urls.append(callback_url)
            body |= {"request_type": "callback", "callback_url": callback_url}

        def work() -> Answer:
            return self._gateway.generate(model, body, self._clock.true, "key")

        answer = await self._answer("submit", subject, work, on_turn)
        return Accepted(answer.data["taskId"])

    async def status(self, task_id: str, model: str) -> Report:
        """Ask the gateway."""

        def work() -> Answer:
            return self._gateway.status(model, task_id, self._clock.true, "key")

        answer = await self._answer("status", task_id, work)
        date = self._clock.true.replace(microsecond=0)
        report = read_report(answer.data, answered_at=date, secret=Secrets(["key"]))
        assert report is not None
        return report

    async def balance_micros(self) -> int | None:
        """Ask the gateway; `calls` does not count it, as it keeps no voice."""
        trouble = self.trouble(Call("balance", "account", self._clock.true))
        if trouble is not None:
            raise trouble
        body = json.dumps(self._gateway.balance("key").body()).encode()
        secret = Secrets(["key"])
        return read_reply(httpx.Response(200), body, secret=secret, now=NOW).amount_micros

    async def _answer(
        self,
        kind: str,
        subject: str,
        work: Callable[[], Answer],
        on_turn: OnTurn | None = None,
    ) -> Answer:
        await asyncio.sleep(0)  # as a real call, it lets others go first
        if on_turn is not None:
            await on_turn()
        call = Call(kind, subject, self._clock.true)
        self.calls.append(call)
        if self.hanging(call):
            await self.release.wait()
        trouble = self.trouble(call)
        if trouble is not None:
            if isinstance(trouble, CallFailed) and trouble.ambiguous:
                work()
            raise trouble
        answer = work()
        if answer.code != 200:
            raise CallFailed(answer.message, code=answer.code)
        return answer

    def submitted(self, subject: str) -> list[Call]:
        """Return the POSTs about a voice or a prefix."""
        return [c for c in self.calls if c.kind == "submit" and c.subject == subject]


class Told:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str, dict[str, Any]]] = []

    def log(self, level: int, event: str, **fields: Any) -> None:  # noqa: ANN401
        self.lines.append((level, str(event), fields))

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the fields of each line that tells of this event."""
        return [fields for _, name, fields in self.lines if name == event]


async def eventually(condition: Callable[[], object]) -> None:
    """Let the other tasks go on until a condition holds."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - what a test looks at has no event
            await asyncio.sleep(0.0005)


def at_once(*works: Callable[[], object]) -> list[VoicekeeperError]:
    """Do all of these in one moment, each in a thread; return the errors that people are told."""
    start, errors = threading.Barrier(len(works)), list[VoicekeeperError]()

    def do(work: Callable[[], object]) -> None:
        start.wait(LIMIT_S)
        try:
            work()
        except VoicekeeperError as error:
            errors.append(error)

    threads = [threading.Thread(target=do, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    return errors


async def offload(function: Callable[[], Any]) -> Any:  # noqa: ANN401 - any result
    """Run a function of the store at once, in this thread."""
    return function()


def database(path: Path) -> SqliteDatabase:
    """Return a ready database that does not wait for the disk; no test pulls the plug."""
    is_new = not path.exists()
    if is_new:
        path.write_bytes(_empty())
    made = SqliteDatabase(path)
    sa.event.listen(made._engine, "connect", _unsynchronized)  # noqa: SLF001
    made.prepare(upgrade=True)
    return made


@cache
def _empty() -> bytes:
    """Return a registry's file without a voice; to migrate anew for each test takes long."""
    with tempfile.TemporaryDirectory() as directory:
        made = SqliteDatabase(Path(directory) / "empty.db")
        made.prepare(upgrade=True)
        made.close()
        return made.path.read_bytes()


def _unsynchronized(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's
    connection.execute("PRAGMA synchronous = OFF")


def driver_of(session: Session) -> Any:  # noqa: ANN401 - any driver's
    """Return the driver's own connection, to see what is asked of it."""
    return session.connection().connection.driver_connection


def imported(name: str, **fields: Any) -> NewVoice:  # noqa: ANN401 - any of its fields
    """Return an existing voice to register; its id is ``id-NAME``."""
    given = {"model": FLASH, "voice_id": f"id-{name}", "origin": Origin.IMPORTED} | fields
    return NewVoice(name, **given)


def wanted(name: str, origin: Origin = Origin.CLONE, **recipe: str) -> NewVoice:
    """Return a voice to be made by an enrollment."""
    fields = (CLONE if origin is Origin.CLONE else DESIGN) | recipe
    return NewVoice(name, FLASH, None, origin, recipe=fields)


class Life:
    """A registry, its keeper and the gateway, from ``NOW`` on.

    Args:
        path: the directory for the database.
        seed: of the gateway's latencies and ids.
        gateway: another one than that of the page.
        overrides: of the settings.
    """

    def __init__(
        self,
        path: Path,
        *,
        seed: int = 0,
        gateway: Gateway | None = None,
        **overrides: Any,  # noqa: ANN401 - any of a policy's fields
    ) -> None:
        self.clock = FakeClock()
        self.policy = policy(**overrides)
        self.gateway = gateway or Gateway(random.Random(seed))
        self.upstream = SandboxUpstream(self.gateway, self.clock)
        self.database = database(path / "voicekeeper.db")
        self.registry = Registry(self.database)
        self.worklist = Worklist(self.database)
        if not self.rows(Active, col(Active.keeper).is_not(None)):
            self.worklist.take_over(keeper="1@here", version="1", now=NOW, policy=self.policy)
            self.worklist.leave(keeper="1@here")  # so that the keeper below may
        self.log = Told()
        self.keeper = self.new_keeper()

    def new_keeper(self, callbacks: Callbacks | None = None) -> Keeper:
        """Return a keeper, as a process just started would have it."""
        self.context = Context(
            worklist=self.worklist,
            gateway=self.upstream,
            clock=self.clock,
            log=self.log,
            offload=offload,
            policy=self.policy,
        )
        return Keeper(self.context, name="1@here", callbacks=callbacks)

    def register(self, *voices: NewVoice) -> None:
        """Register voices; those that have an id exist at the gateway too."""
        self.registry.register(voices, now=self.clock.now(), policy=self.policy)
        for voice in voices:
            if voice.voice_id is not None:
                self.gateway.import_voice(
                    voice.voice_id,
                    voice.model,
                    self.clock.true,
                    last_used_at=voice.last_used_at,
                )

    async def one_pass(self) -> bool:
        """Make one pass and wait for what it began; return whether it found work."""
        found = await self.keeper.sweep()
        await self.keeper.settle()
        return found

    async def run(self, duration: timedelta) -> None:
        """Live on for so long, a pass each tick; ticks at which nothing can be due are left out."""
        end = self.clock.true + duration
        prune_at, in_vain = 0.0, 0
        while self.clock.true < end:
            in_vain = 0 if await self.one_pass() else in_vain + 1
            if self.clock.monotonic() >= prune_at:
                prune_at = self.clock.monotonic() + self.policy.prunes_every.total_seconds()
                await self.keeper.upkeep.prune()
            ahead = next_pass_in(self.database, now=self.clock.now(), tick=TICK, in_vain=in_vain)
            ticks = -(-ahead // TICK)
            left = end - self.clock.true
            if ticks * TICK >= left > TICK:  # the last pass finds nothing, but was made
                self.clock.advance(left - TICK)
                await self.one_pass()
                left = TICK
            self.clock.advance(min(ticks * TICK, left))

    async def anew(self, duration: timedelta) -> None:
        """Take the registry over as a new process, and live on for so long."""
        self.worklist.leave(keeper="1@here")  # as it died long ago
        self.keeper = self.new_keeper()
        await self.keeper.take_over()
        await self.run(duration)

    def live(self, duration: timedelta) -> None:
        """Live so long in a new process, outside of any loop."""
        asyncio.run(self.anew(duration))

    def rows(self, table: type[SQLModel], *where: Any) -> list[Any]:  # noqa: ANN401
        """Return rows of a table, oldest first."""
        key = sa.inspect(table).primary_key[0]
        with self.database.reading() as session:
            return list(session.scalars(select(table).where(*where).order_by(key)))

    def put(self, *rows: SQLModel) -> None:
        """Write rows as something else might have left them."""
        with self.database.writing() as session:
            session.add_all(rows)

    def edit(self, name: str, **columns: object) -> None:
        """Set columns of a voice."""
        with self.database.writing() as session:
            voice = session.get_one(Voice, self.voice(name).id)
            for column, value in columns.items():
                setattr(voice, column, value)

    def voice(self, name: str) -> Voice:
        return self.registry.get(name)

    def tasks(self, name: str) -> list[Task]:
        return self.rows(Task, col(Task.voice_pk) == self.voice(name).id)

    def events(self, name: str) -> list[str]:
        """Return the names of the events in a voice's history."""
        return [entry.event for entry in self.registry.history(name)]

    def alive(self) -> set[str]:
        """Return the voice ids that the gateway still has."""
        return {voice_id for voice_id, book in self.books().voices.items() if book.alive}

    def books(self) -> Books:
        """Return the gateway's own truth."""
        return self.gateway.books(self.clock.true)
