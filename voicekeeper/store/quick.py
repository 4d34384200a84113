"""Quick reads of a registry's file, without the tables' libraries.

Scripts and prompts wait for `resolve` and `list`: with the libraries, `resolve` took 30 times as
long as ``python3 -c pass``, by sqlite3 alone it takes a fifth of that. So their queries are written
a second time, and tests compare the answers with those of `store.Registry`.

A quick read never explains. It reads a file of SQLite that is whole and of this version, and
values that are of their column's type to the letter; whatever else it meets is `Unsure`, and the
registry has to be asked, which knows better or has the sentence for it.
"""

# ruff: noqa: S608 - queries are made of constants, and what is given is bound

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from voicekeeper.core.enums import SCHEMA, BreakerFacts, Origin, Status, VoiceFacts, spellings

if TYPE_CHECKING:
    from voicekeeper.core.schedule import Policy

MOST: Final = 1_000
"""A longer list is the registry's, which hands out one voice after the other."""

_BUSY_TIMEOUT_S: Final = 0.25
"""A commit takes less; after that the registry waits for its turn, and tells who has it."""


_KEPT = "(paused IS 0 AND status IN ('NEW', 'DEPLOYING', 'OK'))"


class Unsure(Exception):  # noqa: N818 - it is no error: somebody else knows
    """A quick read is not enough; ask the registry."""


class QuickVoices:
    """The voices of a registry's file; see `opened`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> VoiceFacts:
        """Return a voice."""
        found: list[VoiceFacts] = []
        for spelling in spellings(name):
            found += self.rows("voice", "WHERE name = :name", name=spelling)
        return found[0]

    def all(self) -> list[VoiceFacts]:
        """Return every voice by name."""
        return self.in_order("name")

    def in_order(self, order: str, **given: object) -> list[VoiceFacts]:
        """Return every voice in an order."""
        voices = self.rows("voice", f"ORDER BY {order} LIMIT :most", most=MOST + 1, **given)
        if len(voices) > MOST:
            raise Unsure
        return voices

    def by_urgency(self, *, now: datetime, policy: "Policy") -> list[VoiceFacts]:
        """Return every voice: the kept by their deadlines, then those that need a person."""
        from voicekeeper.core.health import NAMED  # noqa: PLC0415 - `resolve` does not wait for it

        named = ", ".join(f"status <> '{status}'" for status in NAMED)
        return self.in_order(
            f"""{_KEPT} DESC, CASE WHEN {_KEPT} THEN anchored_at <= :over END,
                CASE WHEN {_KEPT} THEN anchored_at END, {named}, name""",
            over=now - policy.window,
        )

    def blocked(self) -> list[BreakerFacts]:
        """Return the breakers that are open."""
        return self.rows("breaker", "WHERE opened_at IS NOT NULL ORDER BY model")

    def rows(self, table: str, rest: str, **given: object) -> list[Any]:
        """Return rows of a table, each value read as its column's type says.

        Args:
            rest: of the query, from WHERE on.
        """
        columns = [
            (name, _WORDS.get(name, _READERS[kind]), bool(needed))
            for _, name, kind, needed, *_ in self.ask(f"PRAGMA table_info({table})")
        ]
        return [
            SimpleNamespace(
                **{
                    name: None if value is None and not needed else read(value)
                    for (name, read, needed), value in zip(columns, row, strict=True)
                }
            )
            for row in self.ask(f"SELECT * FROM {table} {rest}", **given)
        ]

    def ask(self, query: str, **given: object) -> list[tuple[Any, ...]]:
        """Return what a query finds, as the file has it."""
        values = {name: written(value) for name, value in given.items()}
        return self._connection.execute(query, values).fetchall()


@contextmanager
def opened(path: Path) -> Iterator[QuickVoices]:
    """Open a registry's file, an absolute path; in the block, all answers are of one state of it.

    Raises:
        Unsure: from any step, those of the block too.
    """
    # As an address, so that SQLite makes no file where there is none.
    escaped = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    address, wait = f"file://{escaped}?mode=rw", _BUSY_TIMEOUT_S
    try:
        with closing(
            sqlite3.connect(address, uri=True, timeout=wait, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN")
            registry = QuickVoices(connection)
            ((schema,),) = registry.ask("SELECT version_num FROM alembic_version")
            if schema != SCHEMA:
                raise Unsure
            yield registry
    except (sqlite3.Error, ValueError, TypeError, LookupError, OverflowError) as error:
        raise Unsure from error


Value = TypeVar("Value")


def _exactly(kind: type[Value]) -> Callable[[object], Value]:
    def read(value: object) -> Value:
        if type(value) is not kind:
            raise ValueError
        return value

    return read


text, whole = _exactly(str), _exactly(int)
"""Read a text, and a whole number."""


def instant(value: object) -> datetime:
    """Read an instant; the file has it in UTC."""
    at = datetime.fromisoformat(f"{text(value)}+00:00")
    if written(at) != value:  # such as a week's day, which the library reads too
        raise ValueError
    return at


def written(value: object) -> object:
    """Return a value as the file has it."""
    match value:
        case datetime():
            return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        case date():
            return value.isoformat()
    return value


def _from_json(value: str) -> object:
    import json  # noqa: PLC0415 - `resolve` does not wait for it

    return json.loads(value)


_READERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "BOOLEAN": lambda value: {0: False, 1: True}[whole(value)],
    "DATETIME": instant,
    "FLOAT": _exactly(float),
    "INTEGER": whole,
    "JSON": _from_json,
    "VARCHAR": text,
    "VARCHAR(16)": text,
}
"""What reads a value, by the type of its column in the file."""

_WORDS: Final[Mapping[str, Callable[[Any], object]]] = {"origin": Origin, "status": Status}
"""The same by the name of a column that holds words of an enum."""
