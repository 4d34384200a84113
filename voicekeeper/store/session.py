"""A session of the registry: SQLAlchemy's, and beside it the driver's own connection."""

from typing import Any

import sqlalchemy as sa
import sqlmodel


class Session(sqlmodel.Session):
    """A session of one connection, whose transactions are begun and ended past it.

    Attributes:
        driver: the driver's own connection, for a `Statement`.
        dialect: of the database.
    """

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__(bind=connection, expire_on_commit=False)
        self.driver: Any = connection.connection.driver_connection
        self.dialect = connection.dialect
        self._connection = connection

    def forget(self) -> None:
        """Write what was changed of objects, and let go of all that were loaded.

        A `Statement` changes rows behind the back of who still holds their objects.
        """
        if self.in_transaction():
            self.flush()
            self.expunge_all()

    def throw_away(self) -> None:
        """Let go of a connection that has ended: nothing can be said on it any more."""
        self._connection.invalidate()
        self.hang_up()

    def hang_up(self) -> None:
        """Give the connection back."""
        self.close()
        self._connection.close()
