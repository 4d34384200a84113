"""Settings that are each possible but not together. Pure: settings in, contradictions out."""

from collections.abc import Iterator
from typing import NamedTuple

from voicekeeper.config.settings import Settings
from voicekeeper.duration import compact


class Contradiction(NamedTuple):
    """One rule between settings that is broken.

    Attributes:
        path: the setting to change, dotted.
        others: the settings it is measured against.
        sentence: the rest of the sentence that begins with the path.
    """

    path: str
    others: tuple[str, ...]
    sentence: str


def contradictions(settings: Settings) -> Iterator[Contradiction]:
    """Yield every broken rule between two or more settings."""
    keepalive, polling, retry = settings.keepalive, settings.polling, settings.retry
    interval, jitter, tick = keepalive.interval, keepalive.jitter, settings.daemon.tick
    if interval >= keepalive.window:
        yield Contradiction(
            "keepalive.interval",
            ("keepalive.window",),
            f"must be shorter than the window ({compact(keepalive.window)}),"
            f" not {compact(interval)}",
        )
    if jitter > interval / 2:
        yield Contradiction(
            "keepalive.jitter",
            ("keepalive.interval",),
            f"must be at most half of the interval ({compact(interval / 2)}),"
            f" not {compact(jitter)}; left out, it fits itself",
        )
    if tick >= interval:
        yield Contradiction(
            "daemon.tick",
            ("keepalive.interval",),
            f"must be shorter than the keepalive interval ({compact(interval)}),"
            f" not {compact(tick)}",
        )
    keeps = settings.daemon.keep_history
    if keeps is not None and keeps < keepalive.window:
        yield Contradiction(
            "daemon.keep_history",
            ("keepalive.window",),
            f"must be at least the window ({compact(keepalive.window)}), not {compact(keeps)}",
        )
    if retry.cap < retry.base:
        yield Contradiction(
            "retry.cap",
            ("retry.base",),
            f"must be at least the base ({compact(retry.base)}), not {compact(retry.cap)}",
        )
    for kind, second_poll in (
        ("speech", polling.speech_first + polling.speech_interval),
        ("enrollment", polling.enrollment_first + polling.enrollment_interval),
    ):
        if polling.give_up < second_poll:
            yield Contradiction(
                "polling.give_up",
                (f"polling.{kind}_first", f"polling.{kind}_interval"),
                f"must be at least {kind}_first + {kind}_interval ({compact(second_poll)}),"
                f" not {compact(polling.give_up)}",
            )
