"""What a command works with: the settings, the clock, and the registry, each made when needed.

What only some commands need is imported when they ask for it: the libraries of the registry take
fifteen times as long to import as an interpreter takes to start, and `resolve` stands in scripts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from voicekeeper.cli import prose
from voicekeeper.cli.owner import as_owner, become_owner
from voicekeeper.clock import SystemClock
from voicekeeper.config import Places, Settings, load, places
from voicekeeper.errors import InvalidInput, NotFound
from voicekeeper.glance.file import File, Unsure

if TYPE_CHECKING:
    from voicekeeper.facts import BreakerFacts
    from voicekeeper.schedule import Policy
    from voicekeeper.store import Database, NewVoice, Registry, SqliteDatabase

Answer = TypeVar("Answer")
Side = TypeVar("Side", bound=File)


class Session:
    """One command's settings, time and registry.

    Args:
        config: the file that ``--config`` named, or None.
    """

    def __init__(self, config: Path | None) -> None:
        self._config = config
        self._opened: list[Database] = []
        self.clock = SystemClock()

    @cached_property
    def settings(self) -> Settings:
        """The settings.

        Raises:
            ConfigError: all that is wrong with them.
        """
        return self.load_anew()

    def load_anew(self) -> Settings:
        """Return the settings as they stand now.

        Raises:
            ConfigError: all that is wrong with them.
        """
        return load(self._config, os.environ)

    @property
    def places(self) -> Places:
        """Where the settings stand."""
        return places(self._config, os.environ)

    @cached_property
    def policy(self) -> Policy:
        """The settings that the rules need."""
        from voicekeeper.config.policy import policy_of  # noqa: PLC0415 - see the module

        return policy_of(self.settings)

    @cached_property
    def now(self) -> datetime:
        """When this command began."""
        return self.clock.now()

    def database(self) -> Database:
        """Return the database, as the user that owns it."""
        database = self._open()
        become_owner(database.file)
        return database

    def file_as_caller(self) -> SqliteDatabase:
        """Return the database as the user who runs the command.

        To carry a copy in or out, root may read and write where the database's owner may not.
        SQLite gives the files it makes beside the database to the owner of the database itself.

        Raises:
            InvalidInput: it is no file.
        """
        from voicekeeper.store import SqliteDatabase  # noqa: PLC0415 - see the module

        database = self._open()
        if not isinstance(database, SqliteDatabase):
            raise InvalidInput(
                f"the registry is in {database.place.removeprefix('the ')}; its own tools copy it: "
                "'pg_dump -Fc DATABASE > FILE', and 'pg_restore' puts it back"
            )
        return database

    def close(self) -> None:
        """Close what was opened."""
        for database in self._opened:
            database.close()

    def registry_to_fill(self) -> Registry:
        """Return the registry, made if it is missing.

        Raises:
            DatabaseUnusable: it cannot be made or used.
        """
        from voicekeeper.store import Registry  # noqa: PLC0415 - see the module

        database = self._open()
        if not database.exists():
            # Made before root becomes its owner, who may not be able to read this program. SQLite
            # gives its journals to the owner of the file: the owner of its directory.
            database.prepare(upgrade=False)
            database.close()
        become_owner(database.file)
        database.prepare(upgrade=False)
        return Registry(database)

    def look(self, side: type[Side], question: Callable[[Side | Registry], Answer]) -> Answer:
        """Return the answer to a question: at a glance where that is enough, else the registry's.

        Args:
            side: of the registry, at a glance.
            question: asked of one of the two. What it, and all that comes after it, needs is
                imported before: the owner of the database may not be able to read this program.

        Raises:
            NotFound: there is no registry, or it has no such voice.
            DatabaseUnusable: it cannot be used.
        """
        try:
            return self.glance(side, question)
        except Unsure:
            return question(self.registry())

    def glance(self, side: type[Side], question: Callable[[Side], Answer]) -> Answer:
        """Return the answer to a question, at a glance.

        Raises:
            Unsure: a glance is not enough.
        """
        path = self.settings.database_path
        if path is None:
            raise Unsure
        try:
            with as_owner(path.absolute()), side(path.absolute()) as glance:
                return question(glance)
        except OSError as error:
            raise Unsure from error

    def registry(self) -> Registry:
        """Return the registry as it is.

        Raises:
            NotFound: there is none.
            DatabaseUnusable: it cannot be used.
        """
        from voicekeeper.store import Registry  # noqa: PLC0415 - see the module

        database = self.database()
        must_exist(database)
        database.prepare(upgrade=False)
        return Registry(database)

    def _open(self) -> Database:
        from voicekeeper import bootstrap  # noqa: PLC0415 - see the module

        self._opened.append(bootstrap.database(self.settings))
        return self._opened[-1]

    def warn_if_over(self, voices: Sequence[NewVoice]) -> None:
        """Say on stderr of which of these voices the window is over already."""
        from voicekeeper.duration import words  # noqa: PLC0415 - see the module
        from voicekeeper.health import SHOWN_NAMES  # noqa: PLC0415

        over = [voice for voice in voices if self._is_over(voice) and not voice.paused]
        if not over:
            return
        names = ", ".join(voice.name for voice in over[:SHOWN_NAMES])
        if len(over) > SHOWN_NAMES:
            names += f" and {len(over) - SHOWN_NAMES} more"
        prose.say(
            f"note: the last use of {names} is longer ago than the window of "
            f"{words(self.policy.window)}: probably deleted by the gateway, and tried at once "
            "all the same."
        )

    def warn_of_models(self, voices: Sequence[NewVoice]) -> None:
        """Say on stderr which of these voices have the id of another model."""
        from voicekeeper import registration  # noqa: PLC0415 - see the module
        from voicekeeper.health import SHOWN_NAMES  # noqa: PLC0415

        found = [
            (voice, other)
            for voice in voices
            if (other := registration.other_model(voice.voice_id or "", voice.model))
        ]
        for voice, other in found[:SHOWN_NAMES]:
            prose.say(
                f"note: the voice_id of {voice.name} names the model {other}, but it is registered "
                f"for {voice.model}, so calls would fail; where the model is wrong, remove "
                f"{voice.name} and register it for {other}."
            )
        if len(found) > SHOWN_NAMES:
            prose.say(f"note: so do the voice_ids of {len(found) - SHOWN_NAMES} more.")

    def _is_over(self, voice: NewVoice) -> bool:
        from voicekeeper import schedule  # noqa: PLC0415 - see the module

        used_at = voice.last_used_at
        return used_at is not None and schedule.deadline(used_at, self.policy) <= self.now

    def warn_if_paused(self, registry: Registry, model: str) -> bool:
        """Say on stderr that the calls of a model are paused, and until when at least.

        Returns:
            Whether that is so.
        """
        blocked = [breaker for breaker in registry.blocked() if breaker.model == model]
        self.say_pauses(blocked)
        return bool(blocked)

    def say_pauses(self, blocked: Iterable[BreakerFacts]) -> None:
        """Say on stderr which calls are paused, why, and when they are tried next."""
        from voicekeeper.health import pause  # noqa: PLC0415 - see the module

        for breaker in blocked:
            prose.say(f"note: {pause(breaker, self.now)}.")

    def warn_if_unkept(self, registry: Registry) -> bool:
        """Say on stderr that no daemon has made a pass lately, and how to start one.

        Returns:
            Whether that is so.
        """
        from voicekeeper.duration import words  # noqa: PLC0415 - see the module

        if not registry.is_unkept(now=self.clock.now(), tick=self.settings.daemon.tick):
            return False
        last = registry.last_pass_at()
        if last is None:
            unkept = "no daemon has ever made a pass, so nothing is kept yet"
        else:
            ago = words(self.clock.now() - last)
            unkept = f"no daemon has made a pass for {ago}, so nothing is kept now"
        prose.say(
            f"note: {unkept};",
            "      start one: 'systemctl start voicekeeper', or 'voicekeeper run'",
        )
        return True


def must_exist(database: Database) -> None:
    """See that there is a registry.

    Raises:
        NotFound: there is none.
        DatabaseUnusable: nobody can tell.
    """
    if not database.exists():
        raise NotFound(
            f"there is no registry {_within(database)} yet; "
            "'voicekeeper add', 'clone', 'design' and 'import' make one"
        )


def _within(database: Database) -> str:
    return f"in {database.place}" if database.file is None else f"at {database.place}"


def is_terminal() -> bool:
    """Tell whether stdout shows to a person."""
    return sys.stdout.isatty()
