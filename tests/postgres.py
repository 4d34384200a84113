"""A PostgreSQL server for the tests, of the system's packages, as a user that is not root."""

import os
import pwd
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path
from typing import Self

import psycopg
from sqlmodel import SQLModel

from voicekeeper.store.postgres import PostgresDatabase

OLDEST = 15
_USER = "keeper"
_TEMPLATE = "prepared"
_NOBODY_IS_ACTIVE = (
    "INSERT INTO active (id, epoch, once, interval_s, window_s) VALUES (1, 0, false, 0, 0)"
)


def _binaries() -> Path | None:
    """Return where ``initdb`` of the newest PostgreSQL is; Debian keeps it off the path."""
    found = [
        path
        for path in Path("/usr/lib/postgresql").glob("*/bin")
        if path.parent.name.isdecimal() and int(path.parent.name) >= OLDEST
    ]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


def missing() -> str | None:
    """Return why there can be no server here; None where there can."""
    if _binaries() is None:
        return f"PostgreSQL {OLDEST} or newer is missing: 'apt-get install postgresql'"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and setpriv (util-linux) is missing"
    return None


class Cluster:
    """A server on a socket in a directory of its own; gone when the block ends.

    Nothing is synced: no test pulls the plug.
    """

    def __init__(self) -> None:
        binaries = _binaries()
        assert binaries is not None
        self._binaries = binaries
        self.directory = Path(tempfile.mkdtemp(prefix="voicekeeper-postgres-"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            owner = _somebody()
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)
            ids = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
            self._as_user = ["setpriv", *ids]
        self._number = count(1)
        self._made: set[str] = set()

    def __enter__(self) -> Self:
        self._run("initdb", "--auth=trust", f"--username={_USER}", "--no-sync", "--encoding=UTF8")
        self.start()
        self.execute(f"CREATE DATABASE {_TEMPLATE}")
        template = PostgresDatabase(self.url(_TEMPLATE))
        template.prepare(upgrade=True)
        template.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = {
            "unix_socket_directories": str(self.directory),
            "listen_addresses": "",
            "fsync": "off",
            "max_connections": "200",
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        log = str(self.directory / "log")
        self._run("pg_ctl", "start", "--wait", "--options", options, "--log", log)

    def stop(self) -> None:
        """End the server at once, as a crash would; it recovers when it starts."""
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")

    @property
    def socket(self) -> Path:
        """The server's socket."""
        return self.directory / ".s.PGSQL.5432"

    def url(self, name: str) -> str:
        """Return the address of a database."""
        return f"postgresql+psycopg://{_USER}@/{name}?host={self.directory}"

    def empty(self, number: int = 1) -> str:
        """Return the address of an empty registry; those of different numbers are different.

        One that was used is emptied: to make and to drop a database takes many times as long.
        """
        name = f"registry_{number}"
        if name not in self._made:
            self.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
            self._made.add(name)
        else:
            tables = ", ".join(SQLModel.metadata.tables)
            self.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE", within=name)
            self.execute(_NOBODY_IS_ACTIVE, within=name)
        return self.url(name)

    def copied(self, database: PostgresDatabase) -> str:
        """Return the address of a copy of a database; who is connected to it is cut off."""
        name, source = f"copy_{next(self._number)}", database._engine.url.database  # noqa: SLF001
        others = f"FROM pg_stat_activity WHERE datname = '{source}'"
        self.execute(f"SELECT pg_terminate_backend(pid) {others}")
        self.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
        return self.url(name)

    def without_tables(self) -> str:
        """Return the address of a new database that holds nothing."""
        name = f"bare_{next(self._number)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, *, within: str = "postgres") -> None:
        """Run a statement as the owner of the server."""
        with psycopg.connect(
            host=str(self.directory), user=_USER, dbname=within, autocommit=True
        ) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        data = f"--pgdata={self.directory / 'data'}"
        done = subprocess.run(
            [*self._as_user, str(self._binaries / program), data, *arguments],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == 0, done.stderr.decode()


def _somebody() -> pwd.struct_passwd:
    """Return a user that is not root."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
