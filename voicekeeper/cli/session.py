"""What a command works with: the settings, the clock, and the registry, each made when needed.

The libraries of the registry take fifteen times as long to import as an interpreter takes to
start, and `resolve` stands in scripts: what only some commands need is imported where it is used.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from voicekeeper.cli import owner
from voicekeeper.config import FoundKey, Places, Settings, find_api_key, load, places
from voicekeeper.core.clock import SystemClock
from voicekeeper.errors import ConfigError, InvalidInput, NotFound
from voicekeeper.store import files
from voicekeeper.store.quick import Side, Unsure, opened

if TYPE_CHECKING:
    from voicekeeper.core.health import Keeping
    from voicekeeper.core.schedule import Policy
    from voicekeeper.store.database import Database
    from voicekeeper.store.registry import Registry
    from voicekeeper.store.sqlite import SqliteDatabase

Answer = TypeVar("Answer")


class Session:
    """One command's settings, time and registry.

    Args:
        config: the file that ``--config`` named, or None.
    """

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
        name a file of that user's or none.

        Args:
            settings: those that lead to it; None for this command's.
            service: as for `find_api_key`, which raises the errors.
        """
        opened = partial(files.open_for, self.places.file)
        return find_api_key(settings or self.settings, os.environ, service=service, opened=opened)

    @cached_property
    def policy(self) -> Policy:
        """The settings that the rules need."""
        from voicekeeper.config.policy import policy_of

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
        from contextlib import suppress
        from importlib import import_module

        for name in owner.IMPORTED_LATE:
            import_module(name)
        import_module("voicekeeper.store.memory").MemoryDatabase().close()  # as one is made
        with suppress(ConfigError):  # told when the addresses are needed
            import_module("voicekeeper.notify").senders(self.settings.alerts.urls)

    @cached_property
    def database(self) -> Database:
        """The database, as the user that owns its folder."""
        _ = self.file
        return database_of(self.settings)

    def file_database(self) -> SqliteDatabase:
        """Return the database, or raise InvalidInput where it is no file."""
        from voicekeeper.store.sqlite import SqliteDatabase

        if not isinstance(self.database, SqliteDatabase):
            raise InvalidInput(
                f"the registry is in {self.database.place.removeprefix('the ')}; its own tools "
                "copy it: 'pg_dump -Fc DATABASE > FILE', and 'pg_restore' puts it back"
            )
        return self.database

    def close(self) -> None:
        """Close what was opened."""
        if "database" in self.__dict__:
            self.database.close()

    def look(self, side: type[Side], question: Callable[[Side | Registry], Answer]) -> Answer:
        """Return the answer to a question: at a glance where that is enough, else the registry's.

        Args:
            side: of the registry, at a glance.
            question: asked of one of the two.

        Raises:
            NotFound: there is no registry, or it has no such voice.
            DatabaseUnusable: it cannot be used.
        """
        try:
            return self.glance(side, question)
        except Unsure:
            return question(self.registry())

    def glance(self, side: type[Side], question: Callable[[Side], Answer]) -> Answer:
        """Return the answer to a question at a glance, or raise Unsure where that is not enough."""
        if self.file is None:
            raise Unsure
        with opened(side, self.file) as glance:
            return question(glance)

    def is_unkept(self, keeping: Keeping) -> bool:
        """Tell whether no daemon is at work now."""
        return keeping.is_missing(now=self.clock.now(), tick=self.settings.daemon.tick)

    def registry(self, *, make: bool = False) -> Registry:
        """Return the registry, made if it is missing and may be.

        Raises:
            NotFound: there is none.
            DatabaseUnusable: it cannot be made or used.
        """
        from voicekeeper.store.registry import Registry

        if not make:
            must_exist(self.database)
        self.database.prepare(upgrade=False)
        return Registry(self.database)


def database_of(settings: Settings) -> Database:
    """Return the registry's database, not yet opened.

    Raises:
        ConfigError: its driver cannot be loaded.
    """
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
