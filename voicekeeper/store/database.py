"""The database under the registry, whichever it is: its transactions, schema, and errors.

What every database has stands here; `sqlite` is one file, `postgres` a server. Either has one
writer at a time. A transaction commits as a whole or not at all, and an error of the
driver leaves it as a sentence for the person who has to deal with it.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from voicekeeper.core.enums import SCHEMA
from voicekeeper.errors import DatabaseUnusable, VoicekeeperError
from voicekeeper.store.session import Session
from voicekeeper.store.unreadable import UNREADABLE

T = TypeVar("T")

Offload = Callable[[Callable[[], T]], Awaitable[T]]
"""Runs a blocking function of the store: in the database thread, or at once in a simulation."""

_OURS = ("alembic_version", "voice")
"""Tables without which there is no registry of any version."""

_OLDEST = "0004"
"""The first schema that is upgraded."""


class Database(ABC):
    """A registry's database; opening it touches nothing.

    Args:
        engine: of the database.
        writes: the isolation of a transaction that writes, as execution options.
        reads: that of one that reads.
        place: what sentences call it; holds no secret.

    Attributes:
        is_shared: whether several keepers may use it, one active and the others standing by.
    """

    is_shared: ClassVar[bool]
    _mend: ClassVar[str]
    """What helps where the data are wrong; the end of a sentence."""
    _begin_writing: ClassVar[str]
    """The statement that begins, and keeps every other writer waiting from there on."""
    _begin_reading: ClassVar[str]

    def __init__(
        self,
        engine: sa.Engine,
        place: str,
        *,
        writes: dict[str, Any] | None = None,
        reads: dict[str, Any] | None = None,
    ) -> None:
        self.place = place
        self._engine = engine
        self._writer = engine.execution_options(**(writes or {}))
        self._reader = engine.execution_options(**(reads or {}))

    @property
    @abstractmethod
    def file(self) -> Path | None:
        """The file of the registry, beside which others may stand; None where a server has it."""

    @abstractmethod
    def exists(self) -> bool:
        """Tell whether there is a registry.

        Raises:
            VoicekeeperError: nobody can tell.
        """

    @abstractmethod
    def check_place(self) -> None:
        """See that a registry could be made where it is to be.

        Raises:
            VoicekeeperError: it could not.
        """

    @abstractmethod
    def check(self, *, briefly: bool = False) -> None:
        """See that the registry is whole. A row with a value that no row may have is no damage.

        Args:
            briefly: whether somebody waits for it, so that it may end before it has seen all.

        Raises:
            DatabaseDamaged: it is torn or overwritten somewhere.
            VoicekeeperError: it cannot be read.
        """

    @abstractmethod
    def state(self) -> str:
        """Return in a few words what the database is, for a person who checks the set-up."""

    @abstractmethod
    def held(self, now: datetime) -> AbstractContextManager[None]:
        """Hold the database as a daemon for as long as the block lasts.

        Raises:
            DatabaseHeld: another daemon holds it, where only one may; the sentence names it.
            DatabaseUnusable: it cannot be held.
        """

    def is_held(self) -> bool | None:
        """Tell whether a daemon holds the database; None where its row alone tells."""
        return None

    def identity(self, session: Session) -> str | None:  # noqa: ARG002 - a server needs it
        """Return which server and tables have the registry; None where a file has it.

        Another server, one that was promoted, and tables that were loaded from a dump are others.
        """
        return None

    def see_never_made(self) -> None:  # noqa: B027 - of a server's nothing is left beside it
        """See that a registry that is missing is not one that was lost.

        Raises:
            DatabaseDamaged: it is.
        """

    def see_in_place(self) -> None:  # noqa: B027 - a server keeps its own in its place
        """See that what is open is still what stands in its place.

        Raises:
            DatabaseReplaced: it was replaced or removed.
        """

    @property
    def passed_at(self) -> datetime | None:
        """When the last pass was made in this place, whichever registry stood in it, if known.

        A registry that knows of no pass so late is an old copy of it.
        """
        return None

    def note_pass(self, now: datetime) -> None:  # noqa: B027 - a server tells a copy by its identity
        """Note beside the registry that a pass was made and is committed."""

    @abstractmethod
    def _make(self) -> None:
        """Make an empty registry, whoever else does the same at this moment."""

    @abstractmethod
    def _tables(self, session: Session) -> set[str]:
        """Return the names of all tables.

        Raises:
            DatabaseDamaged: there must have been some.
        """

    @abstractmethod
    def _explained_by_driver(self, error: BaseException) -> VoicekeeperError | None:
        """Return what an error of the driver means to a person; None for any other."""

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session whose transaction commits as a whole or not at all; one at a time.

        Raises:
            VoicekeeperError: the database is busy, full, read-only, away, or broken.
        """
        with (
            self._explained(self._explanation),
            self.alone(),
            Session(self._writer) as session,
            session.begin(),
        ):
            session.core.exec_driver_sql(self._begin_writing)
            yield session
            session.write()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that sees one state of the database and changes nothing.

        Raises:
            DatabaseUnusable: a row holds a value that cannot be read.
            VoicekeeperError: as for `writing`.
        """
        with (
            self._explained(self._explanation_of_read),
            Session(self._reader) as session,
            session.begin(),
        ):
            session.core.exec_driver_sql(self._begin_reading)
            yield session

    def alone(self) -> AbstractContextManager[object]:
        """Keep the other threads of this process from writing meanwhile."""
        return nullcontext()

    def prepare(self, *, upgrade: bool) -> None:
        """Make the registry if there is none, and see that its schema is the one the code knows.

        Args:
            upgrade: whether to migrate an older schema (the daemon does, commands do not).

        Raises:
            DatabaseUnusable: it cannot be made or opened, is not ours, or has a newer schema.
                Nothing was touched.
        """
        if not self.exists():
            self._make()
        schema = self.schema()
        if upgrade:
            self._make_ready()
        if schema == SCHEMA:
            return
        if not upgrade:
            raise DatabaseUnusable(
                f"{self.place} has the schema {schema} of an older voicekeeper; "
                "start the daemon of this version once, it migrates the database"
            )
        self._migrate()

    def _make_ready(self) -> None:
        """Do what a daemon needs before its first pass."""
        self.check(briefly=True)

    def schema(self) -> str:
        """Return the schema's version.

        Raises:
            DatabaseUnusable: the database is none, not ours, or newer than the code.
        """
        with self.reading() as session:
            tables = self._tables(session)
            if any(table not in tables for table in _OURS):
                raise DatabaseUnusable(
                    f"{self.place} is a database of another program; point database.url elsewhere"
                )
            query = "SELECT version_num FROM alembic_version"
            version = session.core.exec_driver_sql(query).scalar()
        if version is None or version > SCHEMA:
            raise DatabaseUnusable(
                f"{self.place} was written by a newer voicekeeper (schema {version}, this one "
                f"knows {SCHEMA}); install that version again. Nothing was touched."
            )
        if version < _OLDEST:
            raise DatabaseUnusable(
                f"{self.place} has the schema {version}, which is too old to be upgraded; run "
                "'voicekeeper export' with the version that made it, and 'voicekeeper import' with "
                "this one into a new registry. Nothing was touched."
            )
        return str(version)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _migrate(self) -> None:
        from alembic import command  # noqa: PLC0415 - costs more than the rest of a start
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", "voicekeeper.store:migrations")
        with self._explained(self._explanation), self._writer.begin() as connection:
            self._lock_migrations(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @abstractmethod
    def _lock_migrations(self, connection: sa.Connection) -> None:
        """Wait until nobody else migrates."""

    @contextmanager
    def _explained(
        self, explanation: Callable[[BaseException], VoicekeeperError | None]
    ) -> Iterator[None]:
        """Raise what an error means to a person, if it is one for them."""
        try:
            yield
        except Exception as error:
            explained = explanation(error)
            if explained is None:
                raise
            raise explained from error

    def _explanation(self, error: BaseException) -> VoicekeeperError | None:
        """Return what an error means to a person, if it is one for them."""
        if isinstance(error, IntegrityError):
            return None  # a rule of the schema broken by our own code: no sentence can mend that
        if isinstance(error, DBAPIError) and error.orig is not None:
            return self._explained_by_driver(error.orig)
        return self._explained_by_driver(error)

    def _explanation_of_read(self, error: BaseException) -> VoicekeeperError | None:
        if isinstance(error, UNREADABLE):
            return DatabaseUnusable(
                f"a row of {self.place} holds a value that cannot be read ({error}); {self._mend}"
            )
        return self._explanation(error)
