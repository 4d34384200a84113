"""How many calls a keepalive takes, for tasks of 5 to 30 seconds, by the settings as they come."""

from collections.abc import Iterator
from datetime import timedelta

from tests.benchmarks import fleet
from tests.benchmarks.table import Row, rounds
from tests.benchmarks.upstream import upstream
from voicekeeper.config import Settings, Upstream

_VOICES = 60
_MOST = 2.5


def rows() -> Iterator[Row]:
    """Keep some voices whose tasks take from 5 to 30 seconds, evenly."""
    yield Row("calls a keepalive, tasks of 5 to 30 s", rounds(_calls), at_most=_MOST)


def _calls() -> float:
    with upstream("5-30") as gateway, fleet.registry(_VOICES, due_in=timedelta(days=-1)) as path:
        chosen = Settings(upstream=Upstream(base_url=gateway.url))
        fleet.keep_all(path, chosen)
        return (len(gateway.calls()) + gateway.polls()) / _VOICES
