"""A database on a PostgreSQL server: one active keeper, and others that stand by.

A writing transaction is READ COMMITTED and begins by locking the row of the active keeper, so that
there is one writer at a time, as of a file, and no order of locks to get wrong. A reading one sees
one state. A connection that the server has ended is thrown away and made anew.

A keeper that is frozen in the middle of a transaction holds its lock no longer than ``_FROZEN_S``:
then the server ends its connection, and the transaction never was.
"""

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg
import sqlalchemy as sa
from psycopg.abc import Buffer
from psycopg.types.string import StrDumper

from voicekeeper.core.duration import words
from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import (
    DatabaseAway,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseHeld,
    DatabaseUnusable,
    VoicekeeperError,
)
from voicekeeper.store.database import Database
from voicekeeper.store.session import Session

_FROZEN_S: Final = 5
_LOCKED_S: Final = 10
"""So long a statement waits for a row; longer than any frozen keeper holds one."""

_CLOCKS_MAY_DIFFER: Final = timedelta(seconds=5)
"""Half of what the longest call leaves over for such things."""

_LOCKS: Final = 0x564B
_MIGRATING: Final = 1
"""The two numbers of the advisory lock that a migration holds to its commit."""

_TIMEOUTS: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""A server that is gone without a word counts as gone after some 25 s; the URL may differ."""

_IDENTITY = (
    "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()),"
    " left(pg_walfile_name(pg_current_wal_lsn()), 8),"
    " (SELECT oid FROM pg_database WHERE datname = current_database()),"
    " to_regclass('voice')::oid)"
)

_MEND = "put a good copy of the database in its place"
_BUSY = "{place} is busy with another command; try again"
_CLOSED = (
    "{place} cannot be written by this user; make the user its owner: 'createdb -O USER DATABASE'"
)
_KNOWN: Final[dict[str, tuple[type[VoicekeeperError], str]]] = {
    "40001": (DatabaseHeld, _BUSY),
    "55P03": (DatabaseHeld, _BUSY),
    "53100": (
        DatabaseFull,
        "the disk of {place} is full; nothing was changed; make room, and it goes on",
    ),
    "42501": (DatabaseUnusable, _CLOSED),
    "25006": (
        DatabaseUnusable,
        "{place} takes no writes ({words}); point database.url at the primary",
    ),
    "25P03": (DatabaseAway, "{place} ended a connection that stood still in a transaction"),
    "XX001": (DatabaseDamaged, f"{{place}} is damaged ({{words}}); {_MEND}"),
    "XX002": (DatabaseDamaged, f"{{place}} is damaged ({{words}}); {_MEND}"),
}
"""What the server's codes mean to a person."""

_NOT_LET_IN = (
    "{place} does not let us in ({words}); mend database.url, or the password in ~/.pgpass or "
    "$PGPASSWORD"
)
_NO_ANSWER = (
    "{place} does not answer ({words}); nothing is lost, and it goes on when the database is back"
)
_CLASSES_LOCKED_OUT = ("28", "3D")
_LOCKED_OUT = ("authentication", "does not exist", "pg_hba.conf", "password", "not permitted")
"""Words of a connection that is refused, whoever tries again."""

_MOST = 300


class PostgresDatabase(Database):
    """A registry in the database of a server.

    Opening connects nowhere. The tables are made by `prepare` and by nothing else.

    Args:
        url: of SQLAlchemy's form, ``postgresql+psycopg://USER@HOST/DATABASE``; its password, if
            it has one, is in no sentence and no ``repr``.
    """

    is_shared = True
    _mend = _MEND
    _begin_writing = "SELECT 1 FROM active FOR UPDATE"
    _begin_reading = "SET LOCAL idle_in_transaction_session_timeout = 0"  # it holds nobody up

    def __init__(self, url: str) -> None:
        read = sa.make_url(url)
        self._password = SecretStr(str(read.password or ""))
        given = {key: value for key, value in _TIMEOUTS.items() if key not in read.query}
        engine = sa.create_engine(
            read,
            connect_args={"application_name": "voicekeeper", **given},
            pool_pre_ping=True,
            hide_parameters=True,
        )
        sa.event.listen(engine, "connect", _settle)
        host = read.host or read.query.get("host") or "this machine"
        place = f"the PostgreSQL database {read.database} on {host}"
        super().__init__(
            engine,
            place,
            writes={"isolation_level": "READ COMMITTED"},
            reads={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
        )

    @property
    def file(self) -> Path | None:
        """There is none."""
        return None

    def exists(self) -> bool:
        """Tell whether any of the registry's tables is there."""
        with self.reading() as session:
            return not self._tables(session).isdisjoint(("alembic_version", "voice"))

    def check_place(self) -> None:
        """See that this user may make tables."""
        query = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
        with self.reading() as session:
            if not session.core.exec_driver_sql(query).scalar():
                raise DatabaseUnusable(_CLOSED.format(place=self.place))

    def check(self, *, briefly: bool = False) -> None:  # noqa: ARG002 - it never takes long
        """See that the tables can be read; the server itself watches over its pages."""
        with self.reading() as session:
            session.core.exec_driver_sql("SELECT 1 FROM voice LIMIT 1").scalar()

    def state(self) -> str:
        """Return which PostgreSQL it is."""
        with self.reading() as session:
            version = session.core.exec_driver_sql("SHOW server_version").scalar()
        return f"PostgreSQL {str(version).split()[0]}"

    def identity(self, session: Session) -> str | None:
        """Return the server, its timeline, the database in it, and the table of voices."""
        identity: str = session.core.exec_driver_sql(_IDENTITY).scalar_one()
        return identity

    def held(self, now: datetime) -> AbstractContextManager[None]:
        """Hold nothing, as others may stand by; but see that the clocks agree.

        A keeper judges by its own which calls of another are over.

        Raises:
            VoicekeeperError: this host's clock is not the server's.
        """
        with self.reading() as session:
            server = session.core.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        if abs(now - server) > _CLOCKS_MAY_DIFFER:
            way = "ahead of" if now > server else "behind"
            raise VoicekeeperError(
                f"this host's clock is {words(abs(now - server))} {way} that of {self.place}, and "
                "keepers of one registry go by one time; 'timedatectl set-ntp true' sets it "
                "right, and keeps it so"
            )
        return nullcontext()

    def _make(self) -> None:
        self.check_place()
        self._migrate()

    def _tables(self, session: Session) -> set[str]:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        return set(session.core.exec_driver_sql(query).scalars())

    def _lock_migrations(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10min'")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCKS}, {_MIGRATING})")

    def _explained_by_driver(self, error: BaseException) -> VoicekeeperError | None:
        if not isinstance(error, psycopg.Error) or isinstance(error, psycopg.IntegrityError):
            return None
        said, state = self._words(error), error.sqlstate or ""
        kind, sentence = _KNOWN.get(state, (VoicekeeperError, "{place}: {words}"))
        if state.startswith(_CLASSES_LOCKED_OUT) or (
            not state and any(word in said for word in _LOCKED_OUT)
        ):
            kind, sentence = DatabaseUnusable, _NOT_LET_IN
        elif kind is VoicekeeperError and isinstance(
            error, psycopg.OperationalError | psycopg.InterfaceError
        ):
            kind, sentence = DatabaseAway, _NO_ANSWER
        return kind(sentence.format(place=self.place, words=said))

    def _words(self, error: psycopg.Error) -> str:
        """Return the driver's words in one line, and without the password."""
        said = " ".join(str(error).split())
        password = self._password.get_secret_value()
        if password:
            said = said.replace(password, "***")
        return said if len(said) <= _MOST else f"{said[:_MOST]}..."


def _settle(connection: psycopg.Connection, _record: object) -> None:
    """Set what every connection goes by; instants are read in UTC."""
    connection.execute(
        f"SET timezone = 'UTC'; SET lock_timeout = '{_LOCKED_S}s'; "
        f"SET idle_in_transaction_session_timeout = '{_FROZEN_S}s'"
    )
    connection.commit()
    connection.adapters.register_dumper(str, _Text)


class _Text(StrDumper):
    """Replaces what PostgreSQL has no place for: words of the gateway may hold anything."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\ufffd"))
