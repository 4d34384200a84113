"""What a command works with: the settings, the clock, and the registry, each made when needed.

The libraries of the registry take fifteen times as long to import as an interpreter takes to
start, and `resolve` stands in scripts: what only some commands need is imported where it is used.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from voicekeeper.cli import owner
from voicekeeper.config import FoundKey, Places, Settings, find_api_key, load, places, policy_of
from voicekeeper.core.clock import SystemClock
from voicekeeper.errors import ConfigError, NotFound
from voicekeeper.store import files
from voicekeeper.store.quick import QuickVoices, Unsure, opened

if TYPE_CHECKING:
    from voicekeeper.core.enums import BreakerFacts
    from voicekeeper.core.health import Keeping
    from voicekeeper.core.schedule import Policy
    from voicekeeper.store.database import Database
    from voicekeeper.store.registry import Registry

Answer = TypeVar("Answer")


class Session:
    """One command's settings, time and registry; ``config`` is the file that it was given."""

    def __init__(self, config: Path | None) -> None:
        self._config = config
        self.clock = SystemClock()

    @cached_property
    def settings(self) -> Settings:
        """The settings, or a ConfigError with all that is wrong with them."""
        return self.load_settings()

    def load_settings(self) -> Settings:
        """Return the settings as they stand now."""
        return load(self._config, os.environ)

    @property
    def places(self) -> Places:
        """Where the settings stand."""
        return places(self._config, os.environ)

    def find_key(
        self, settings: Settings | None = None, *, service: Path | None = None
    ) -> FoundKey:
        """Return the API key, which root reads before it becomes another user.

        Settings say which file is read, and where what is in it is sent, so those of another user
        name a file of that user's or none. See `find_api_key`.
        """
        opened = partial(files.open_for, self.places.file)
        return find_api_key(settings or self.settings, os.environ, service=service, opened=opened)

    @cached_property
    def policy(self) -> Policy:
        """The settings that the rules need."""
        return policy_of(self.settings)

    @cached_property
    def now(self) -> datetime:
        """When this command began."""
        return self.clock.now()

    @property
    def owner(self) -> owner.Owner | None:
        """The user whom root has to become for the registry; None where nobody has to."""
        path = self.settings.database_path
        return None if path is None else owner.owner_of(path.absolute())

    @cached_property
    def file(self) -> Path | None:
        """The registry's file, without a link; root is its folder's owner from here on, for good.

        All that is in the folder is reached through this. None where a server has the registry.
        Raises DatabaseUnusable where root cannot become that user, or must not.
        """
        path = self.settings.database_path
        if (user := self.owner) is not None:
            if not owner.is_program_public():
                self._import_the_rest()
            owner.become(user)
        return None if path is None else path.resolve()

    def _import_the_rest(self) -> None:
        """Import what is only imported when it is needed, while this program may be read."""
        for name in owner.IMPORTED_LATE:
            import_module(name)
        import_module("voicekeeper.store.memory").MemoryDatabase().close()  # as one is made
        with suppress(ConfigError):  # raised again when the addresses are needed
            import_module("voicekeeper.notify").senders(self.settings.alerts.urls)

    @cached_property
    def database(self) -> Database:
        """The database, as the user that owns its folder."""
        _ = self.file
        return database_of(self.settings)

    def close(self) -> None:
        """Close what was opened."""
        if "database" in self.__dict__:
            self.database.close()

    def look(self, question: Callable[[QuickVoices | Registry], Answer]) -> Answer:
        """Return the answer to a question: by a quick read where that is enough.

        Raises NotFound where there is no registry, or no such voice in it, and DatabaseUnusable.
        """
        with suppress(Unsure):
            return self.glance(question)
        return question(self.registry())

    def glance(self, question: Callable[[QuickVoices], Answer]) -> Answer:
        """Return the answer by a quick read, or raise Unsure where that is not enough."""
        if self.file is None:
            raise Unsure
        with opened(self.file) as quick:
            return question(quick)

    def registry(self, *, make: bool = False) -> Registry:
        """Return the registry, made if it is missing and may be, else a NotFound is raised."""
        from voicekeeper.store.registry import Registry

        if not make:
            must_exist(self.database)
        self.database.prepare(upgrade=False)
        return Registry(self.database)

    def is_unkept(self, keeping: Keeping) -> bool:
        """Tell whether no daemon is at work now."""
        return keeping.is_missing(now=self.clock.now(), tick=self.settings.daemon.tick)

    def note_unkept(self, registry: Registry) -> bool:
        """Say that no daemon is at work, and how to start one; return whether none is."""
        keeping = registry.keeping()
        if not self.is_unkept(keeping):
            return False
        from voicekeeper.cli import prose

        when = "yet" if keeping.last_pass_at is None else "now"
        prose.say(f"note: nothing is kept {when}: {keeping.sentence}.")
        return True

    def note_paused(self, blocked: Iterable[BreakerFacts], model: str | None = None) -> bool:
        """Say which calls are paused, of one model or of all; return whether any are."""
        from voicekeeper.cli import prose
        from voicekeeper.core import health

        paused = [breaker for breaker in blocked if model in (None, breaker.model)]
        for breaker in paused:
            prose.say(f"note: {health.pause(breaker, self.now)}.")
        return bool(paused)


def database_of(settings: Settings) -> Database:
    """Return the registry's database, not yet opened; ConfigError where it lacks its driver."""
    path = settings.database_path
    if path is not None:
        from voicekeeper.store.sqlite import SqliteDatabase

        return SqliteDatabase(path.resolve())  # a lock beside a link would be a second one
    try:
        from voicekeeper.store.postgres import PostgresDatabase
    except Exception as error:  # such as a psycopg that finds no libpq
        from voicekeeper.core import extras

        why = extras.broken(extras.POSTGRES, f"{type(error).__name__}: {error}")
        raise ConfigError([f"database.url: {why}"]) from error

    return PostgresDatabase(settings.database.url.get_secret_value())


def must_exist(database: Database) -> None:
    """Raise NotFound where there is no registry, DatabaseUnusable where nobody can tell."""
    if not database.exists():
        database.see_never_made()
        within = f"{'in' if database.file is None else 'at'} {database.place}"
        raise NotFound(
            f"there is no registry {within} yet; "
            "'voicekeeper add', 'clone', 'design' and 'import' make one"
        )
