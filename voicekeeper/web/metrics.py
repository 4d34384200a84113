"""What Prometheus is told: a pure function of what the registry knows, made anew at each scrape.

So a voice that was removed leaves no series behind, and a restart loses no count. Only what comes
over the web itself is counted in this process, from its start on.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from voicekeeper import __version__, forecast, pricing
from voicekeeper.models import Voice
from voicekeeper.schedule import Policy, known_deadline
from voicekeeper.store.survey import Figures, Margins
from voicekeeper.terms import Kind, Status, TaskState

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_RESULTS = (TaskState.SUCCESS, TaskState.FAILED, TaskState.REFUSED, TaskState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Heard:
    """What came over the web since this process began.

    Attributes:
        webhooks: by what came of them.
        refused: connections that were closed, by reason.
    """

    webhooks: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)


def exposition(figures: Figures, heard: Heard, policy: Policy) -> bytes:
    """Return the figures in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Made(families(figures, heard, policy)))
    return generate_latest(registry)


class _Made:
    """A collector of families that are made already."""

    def __init__(self, made: Iterable[Metric]) -> None:
        self._made = tuple(made)

    def collect(self) -> Iterable[Metric]:
        return self._made


def families(figures: Figures, heard: Heard, policy: Policy) -> Iterator[Metric]:
    """Yield every metric."""
    yield InfoMetricFamily(
        "voicekeeper_build", "The version that runs.", value={"version": __version__}
    )
    yield from _of_the_fleet(figures)
    yield _margins(figures.margins)
    yield from _of_voices(figures.kept, policy)
    yield from _of_tasks(figures)
    yield from _of_money(figures, policy)
    yield from _of_the_keeper(figures)
    yield _counted(
        "voicekeeper_webhooks",
        "Webhooks that came, by what came of them, since the daemon began.",
        "outcome",
        heard.webhooks,
    )
    yield _counted(
        "voicekeeper_connections_refused",
        "Connections that were closed without an answer, by reason, since the daemon began.",
        "reason",
        heard.refused,
    )


def _of_the_fleet(figures: Figures) -> Iterator[Metric]:
    health = figures.health
    voices = GaugeMetricFamily("voicekeeper_voices", "Voices, by status.", labels=["status"])
    for status in Status:
        voices.add_metric([status], health.by_status.get(status, 0))
    yield voices
    for name, words, value in (
        ("kept", "Voices that are to be kept alive.", health.kept),
        ("paused", "Living voices that a person paused.", health.paused),
        ("due", "Voices whose call is due: the backlog.", figures.due),
        ("overdue", "Voices whose call is late by a fiftieth of the window.", health.overdue),
        ("at_risk", "Voices with little of their window left.", health.at_risk),
        ("held", "Enrollments that the day's budget holds.", health.held + health.held_for_good),
    ):
        yield GaugeMetricFamily(f"voicekeeper_voices_{name}", words, value)


def _margins(margins: Margins) -> Metric:
    buckets = [(_number(edge.total_seconds()), n) for edge, n in margins.at_most.items()]
    return HistogramMetricFamily(
        "voicekeeper_voice_margin_seconds",
        "What is left of the window of each voice that is kept, as of now.",
        buckets=[*buckets, ("+Inf", margins.voices)],
        sum_value=margins.sum.total_seconds(),
    )


def _number(value: float) -> str:
    """Write the edge of a bucket, rounded, so that its label never changes."""
    return str(float(round(value, 3)))


def _of_voices(voices: Collection[Voice], policy: Policy) -> Iterator[Metric]:
    deadline, success, due = (
        GaugeMetricFamily(f"voicekeeper_voice_{name}_timestamp_seconds", words, labels=["name"])
        for name, words in (
            ("deadline", "When the gateway deletes the voice unless it is used."),
            ("last_success", "When the voice was last used."),
            ("next_due", "When the voice is called next."),
        )
    )
    for voice in voices:
        instants = (known_deadline(voice, policy), voice.last_used_at, voice.next_at)
        for metric, at in zip((deadline, success, due), instants, strict=True):
            if at is not None:
                metric.add_metric([voice.name], at.timestamp())
    yield from (deadline, success, due)


def _of_tasks(figures: Figures) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "voicekeeper_attempts",
        "Calls that cost money, by how they ended.",
        labels=["kind", "result"],
    )
    running = GaugeMetricFamily(
        "voicekeeper_tasks_open", "Calls whose end is not known yet.", labels=["kind"]
    )
    for kind in Kind:
        for result in _RESULTS:
            ended.add_metric([kind, result], figures.ended_tasks.get((kind, result), 0))
        running.add_metric([kind], figures.open_tasks.get(kind, 0))
    yield from (ended, running)
    breakers = GaugeMetricFamily(
        "voicekeeper_breaker_open",
        "Whether the calls of a model are paused: 1, or 0 while they flow.",
        labels=["model"],
    )
    blocked = {breaker.model for breaker in figures.health.blocked}
    for model in sorted(figures.models):
        breakers.add_metric([model], float(model in blocked))
    yield breakers


def _of_money(figures: Figures, policy: Policy) -> Iterator[Metric]:
    certain = CounterMetricFamily(
        "voicekeeper_spent_usd", "US dollars that calls should have cost.", labels=["kind"]
    )
    possible = GaugeMetricFamily(
        "voicekeeper_possibly_spent_usd",
        "US dollars that calls without an answer may have cost, those under way too.",
        labels=["kind"],
    )
    for kind in Kind:
        spent = figures.spent.get(kind, pricing.Spent())
        certain.add_metric([kind], pricing.dollars(spent.certain))
        possible.add_metric([kind], pricing.dollars(spent.possible))
    yield from (certain, possible)
    balance, days = figures.health.balance, figures.health.runway_days(policy)
    yield _if_known(
        "voicekeeper_balance_usd",
        "US dollars on the account, as the gateway last told.",
        None if balance is None else pricing.dollars(balance.micros),
    )
    yield _if_known(
        "voicekeeper_balance_timestamp_seconds",
        "When the gateway told the balance.",
        None if balance is None else balance.told_at.timestamp(),
    )
    yield _if_known(
        "voicekeeper_runway_seconds",
        "For how long the balance pays the keepalives, in whole days.",
        None if days is None else days * forecast.DAY.total_seconds(),
    )


def _of_the_keeper(figures: Figures) -> Iterator[Metric]:
    last, started = figures.health.last_pass_at, figures.started_at
    yield _if_known(
        "voicekeeper_last_pass_timestamp_seconds",
        "When a keeper last ended a pass.",
        None if last is None else last.timestamp(),
    )
    yield _if_known(
        "voicekeeper_keeper_start_timestamp_seconds",
        "When that keeper began.",
        None if started is None else started.timestamp(),
    )


def _if_known(name: str, words: str, value: float | None) -> Metric:
    """Return a gauge; without a sample where there is nothing to tell."""
    if value is None:
        return GaugeMetricFamily(name, words, labels=[])
    return GaugeMetricFamily(name, words, value)


def _counted(name: str, words: str, label: str, counts: Mapping[str, int]) -> Metric:
    counter = CounterMetricFamily(name, words, labels=[label])
    for value, count in sorted(counts.items()):
        counter.add_metric([value], count)
    return counter
