"""The database under the registry, whichever it is: its transactions, schema, and errors.

What every database has stands here; `sqlite` is one file, `postgres` a server. Either has one
writer at a time. A transaction commits as a whole or not at all, and an error of the
driver leaves it as a sentence for the person who has to deal with it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from voicekeeper.core.enums import SCHEMA
from voicekeeper.errors import DatabaseUnusable, VoicekeeperError
from voicekeeper.store.session import Session
from voicekeeper.store.turns import Turns
from voicekeeper.store.unreadable import UNREADABLE

_OURS = ("alembic_version", "voice")
"""Tables without which there is no registry of any version."""

_OLDEST = "0004"
"""The first schema that is upgraded."""


class Database(ABC):
    """A registry's database; opening it touches nothing.

    Args:
        engine: whose transactions nobody but this class begins or ends.
        place: what sentences call it; holds no secret.

    Attributes:
        is_shared: whether several keepers may use it, one active and the others standing by.
    """

    is_shared: ClassVar[bool]
    _writes: ClassVar[str]
    _reads: ClassVar[str]
    _mend: ClassVar[str]
    """What helps where the data are wrong; the end of a sentence."""

    def __init__(self, engine: sa.Engine, place: str) -> None:
        self.place = place
        self._engine = engine
        self._idle: list[Session] = []

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

    def writing(self) -> AbstractContextManager[Session]:
        """Give a session whose transaction commits as a whole or not at all; one at a time.

        Raises:
            VoicekeeperError: the database is busy, full, read-only, away, or broken.
        """
        turns = self._turns_to_write()
        return _Transaction(self, self._writes, self._explanation, turns, first=self._lock_out)

    def reading(self) -> AbstractContextManager[Session]:
        """Give a session that sees one state of the database and changes nothing.

        Raises:
            DatabaseUnusable: a row holds a value that cannot be read.
            VoicekeeperError: as for `writing`.
        """
        turns = self._turns_to_read()
        return _Transaction(self, self._reads, self._explanation_of_read, turns)

    def _turns_to_write(self) -> Turns | None:
        """Return in which queue the threads of this process stand to write; None for none."""
        return None

    def _turns_to_read(self) -> Turns | None:
        """Return the same of those that read."""
        return None

    def _lock_out(self, session: Session) -> None:  # noqa: B027 - a file has one writer anyway
        """Keep every other writer waiting from the first statement on."""

    def lent_session(self) -> Session:
        """Return a session that nobody uses, new if there is none; give it back when done.

        To open one anew for each transaction takes longer than most of them.
        """
        with suppress(IndexError):
            return self._idle.pop()
        return self._new_session()

    def _new_session(self) -> Session:
        return Session(self._engine.connect())

    def take_back(self, session: Session) -> None:
        """Keep a session that was lent for the next who needs one."""
        self._idle.append(session)

    def is_lost(self, session: Session) -> bool:  # noqa: ARG002 - a file's never is
        """Tell whether a session's connection has ended, so that nothing can be rolled back."""
        return False

    def begin(self, session: Session, mode: str) -> None:
        """Begin a transaction, and wait for others where that must be."""
        _begin(session.driver, mode)

    def commit(self, session: Session) -> None:
        """Commit it, and wait for others where that must be."""
        _commit(session.driver)

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
            version = session.connection().exec_driver_sql(query).scalar()
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
        while self._idle:
            self._idle.pop().hang_up()
        self._engine.dispose()

    def _migrate(self) -> None:
        from alembic import command  # noqa: PLC0415 - costs more than the rest of a start
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", "voicekeeper.store:migrations")
        with self._explained(), self._engine.begin() as connection:
            _begin(connection.connection.driver_connection, self._writes)
            self._lock_migrations(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @abstractmethod
    def _lock_migrations(self, connection: sa.Connection) -> None:
        """Wait until nobody else migrates."""

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            explanation = self._explanation(error)
            if explanation is None:
                raise
            raise explanation from error

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


class _Transaction(AbstractContextManager[Session]):
    """One transaction, from its beginning to its commit, or to its rollback and an explanation.

    Begun and committed past SQLAlchemy, whose own steps are a third of what a short transaction
    costs; and a class, because a chain of generators costs as much again.
    """

    def __init__(
        self,
        database: Database,
        mode: str,
        explanation: Callable[[BaseException], VoicekeeperError | None],
        turns: Turns | None,
        *,
        first: Callable[[Session], None] | None = None,
    ) -> None:
        self._database = database
        self._first = first
        self._mode = mode
        self._explanation = explanation
        self._turns = turns
        self._session: Session | None = None

    def __enter__(self) -> Session:
        if self._turns is not None:
            self._turns.take()
        try:
            session = self._begun()
            if self._first is not None:
                self._first(session)
        except BaseException as error:
            self._fail(error)
            raise
        return session

    def _begun(self) -> Session:
        session = self._session = self._database.lent_session()
        try:
            self._database.begin(session, self._mode)
        except Exception:
            if not self._database.is_lost(session):
                raise
            # It was lost while nobody used it; nothing was begun, so a new one may do.
            self._database.take_back(session)
            self._session = None
            session = self._session = self._database.lent_session()
            self._database.begin(session, self._mode)
        return session

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._fail(error)
            return
        session = self._session
        assert session is not None  # noqa: S101 - it was entered
        try:
            if session.in_transaction():  # it was used for more than statements
                session.flush()
            self._database.commit(session)
        except BaseException as failure:
            self._fail(failure)
            raise
        try:
            self._give_back(session)
        finally:
            self._end_turn()

    def _fail(self, error: BaseException) -> None:
        """Roll back; raise what the error means to a person, if it is one for them."""
        try:
            if self._session is not None:
                try:
                    self._roll_back(self._session)
                finally:
                    self._give_back(self._session)
        finally:
            self._end_turn()
        explanation = self._explanation(error)
        if explanation is not None:
            raise explanation from error

    def _roll_back(self, session: Session) -> None:
        try:
            session.driver.rollback()
        except Exception:
            if not self._database.is_lost(session):
                raise

    def _give_back(self, session: Session) -> None:
        if session.in_transaction() and not self._database.is_lost(session):
            session.close()
        self._database.take_back(session)

    def _end_turn(self) -> None:
        if self._turns is not None:
            self._turns.give()


def _begin(driver: Any, mode: str) -> None:  # noqa: ANN401 - any driver's connection
    """Begin a transaction where the driver begins none."""
    driver.execute(f"BEGIN {mode}")


def _commit(driver: Any) -> None:  # noqa: ANN401 - the same
    driver.commit()
