"""A session of the registry."""

import sqlmodel


class Session(sqlmodel.Session):
    """A session of one transaction."""

    def forget(self) -> None:
        """Write what was changed of objects, and let go of all that were loaded."""
        self.flush()
        self.expunge_all()
