"""What differs between two settings, and what of it a running daemon can take on. Pure."""

from collections.abc import Sequence

from voicekeeper.config.settings import Settings, keys

_FIXED = ("database.url", "webhook.public_url")


def changed(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the dotted paths of the settings that differ, in the order of the example file."""
    return tuple(
        f"{table}.{key}"
        for table, names in keys().items()
        for key in names
        if getattr(getattr(old, table), key) != getattr(getattr(new, table), key)
    )


def unchangeable(paths: Sequence[str]) -> tuple[str, ...]:
    """Return a problem for each of these settings that only a restart can change.

    The database is held by the process, an address to listen on is bound by it, and enrollments
    under way are told of where they were told to.
    """
    return tuple(
        f"{path}: cannot change while the daemon runs; restart it, or put the old value back"
        for path in paths
        if path in _FIXED or path.endswith(".listen")
    )
