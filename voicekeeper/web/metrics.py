"""Write the metrics: a pure function of what the registry knows.

So a voice that was removed leaves no series behind, and a restart loses no count. Only what comes
over the web itself is counted in this process, from its start.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from voicekeeper import __version__
from voicekeeper.core import costs
from voicekeeper.core.enums import Kind, Status, TaskState
from voicekeeper.core.schedule import Policy, known_deadline
from voicekeeper.store.fleet import Figures, Margins

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_RESULTS = (TaskState.SUCCESS, TaskState.FAILED, TaskState.REFUSED, TaskState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class WebCounts:
    """Webhooks by outcome and refused connections by reason, since this process began."""

    webhooks: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(figures: Figures, web: WebCounts, policy: Policy) -> bytes:
    """Return the figures in Prometheus's text format."""
    return generate_latest(_Families(_families(figures, web, policy)))


def _families(figures: Figures, web: WebCounts, policy: Policy) -> Iterator[Metric]:
    build = {"version": __version__}
    yield InfoMetricFamily("voicekeeper_build", "The version that runs.", value=build)
    yield from _fleet(figures)
    yield _margins(figures.margins)
    yield from _voices(figures, policy)
    yield from _tasks(figures)
    yield from _money(figures, policy)
    last_pass_at = _unix(figures.health.last_pass_at)
    yield _gauge("last_pass_timestamp_seconds", "When a keeper last ended a pass.", last_pass_at)
    started_at = _unix(figures.started_at)
    yield _gauge("keeper_start_timestamp_seconds", "When that keeper began.", started_at)
    yield _counter(
        "webhooks",
        "Webhooks that came, by what came of them, since the daemon began.",
        ["outcome"],
        (((outcome,), count) for outcome, count in sorted(web.webhooks.items())),
    )
    yield _counter(
        "connections_refused",
        "Connections that were closed without an answer, by reason, since the daemon began.",
        ["reason"],
        (((reason,), count) for reason, count in sorted(web.refused.items())),
    )


def _fleet(figures: Figures) -> Iterator[Metric]:
    health = figures.health
    statuses = (((status,), health.by_status.get(status, 0)) for status in Status)
    yield _gauges("voices", "Voices, by status.", ["status"], statuses)
    for name, words, value in (
        ("kept", "Voices that are to be kept alive.", health.kept),
        ("paused", "Living voices that a person paused.", health.paused),
        ("due", "Voices whose call is due: the backlog.", figures.due),
        ("overdue", "Voices whose call is late by a fiftieth of the window.", health.overdue),
        ("at_risk", "Voices with little of their window left.", health.at_risk),
        ("held", "Enrollments that the day's budget holds.", health.held + health.held_for_good),
    ):
        yield _gauge(f"voices_{name}", words, value)


def _margins(margins: Margins) -> Metric:
    # Edges are rounded, so that the labels of the buckets never change.
    buckets = [
        (str(float(round(edge.total_seconds(), 3))), count)
        for edge, count in margins.at_most.items()
    ]
    return HistogramMetricFamily(
        "voicekeeper_voice_margin_seconds",
        "What is left of the window of each voice that is kept, as of now.",
        buckets=[*buckets, ("+Inf", margins.voices)],
        sum_value=margins.sum.total_seconds(),
    )


def _voices(figures: Figures, policy: Policy) -> Iterator[Metric]:
    for name, words, at in (
        (
            "deadline",
            "When the gateway deletes the voice unless it is used.",
            lambda voice: known_deadline(voice, policy),
        ),
        ("last_success", "When the voice was last used.", lambda voice: voice.last_used_at),
        ("next_due", "When the voice is called next.", lambda voice: voice.next_at),
    ):
        instants = ((voice.name, _unix(at(voice))) for voice in figures.kept)
        known = (((voice,), when) for voice, when in instants if when is not None)
        yield _gauges(f"voice_{name}_timestamp_seconds", words, ["name"], known)


def _tasks(figures: Figures) -> Iterator[Metric]:
    ended = figures.ended_tasks
    yield _counter(
        "attempts",
        "Calls that cost money, by how they ended.",
        ["kind", "result"],
        (((kind, end), ended.get((kind, end), 0)) for kind in Kind for end in _RESULTS),
    )
    running = (((kind,), figures.open_tasks.get(kind, 0)) for kind in Kind)
    yield _gauges("tasks_open", "Calls whose end is not known yet.", ["kind"], running)
    blocked = {breaker.model for breaker in figures.health.blocked}
    yield _gauges(
        "breaker_open",
        "Whether the calls of a model are paused: 1, or 0 while they flow.",
        ["model"],
        (((model,), float(model in blocked)) for model in sorted(figures.models)),
    )


def _money(figures: Figures, policy: Policy) -> Iterator[Metric]:
    spent = [((kind,), figures.spent.get(kind, costs.Spent())) for kind in Kind]
    yield _counter(
        "spent_usd",
        "US dollars that calls should have cost.",
        ["kind"],
        ((key, costs.dollars(each.certain)) for key, each in spent),
    )
    yield _gauges(
        "possibly_spent_usd",
        "US dollars that calls without an answer may have cost, those under way too.",
        ["kind"],
        ((key, costs.dollars(each.possible)) for key, each in spent),
    )
    balance, days = figures.health.balance, figures.health.runway_days(policy)
    for name, words, value in (
        (
            "balance_usd",
            "US dollars on the account, as the gateway last told.",
            None if balance is None else costs.dollars(balance.micros),
        ),
        (
            "balance_timestamp_seconds",
            "When the gateway told the balance.",
            None if balance is None else balance.told_at.timestamp(),
        ),
        (
            "runway_seconds",
            "For how long the balance pays the keepalives, in whole days.",
            None if days is None else days * costs.DAY.total_seconds(),
        ),
    ):
        yield _gauge(name, words, value)


def _unix(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _gauge(name: str, words: str, value: float | None) -> Metric:
    """Return a gauge; without a sample where its value is not known."""
    return _gauges(name, words, [], [] if value is None else [((), value)])


def _gauges(
    name: str, words: str, labels: list[str], samples: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    gauge = GaugeMetricFamily(f"voicekeeper_{name}", words, labels=labels)
    for key, value in samples:
        gauge.add_metric(key, value)
    return gauge


def _counter(
    name: str, words: str, labels: list[str], samples: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    counter = CounterMetricFamily(f"voicekeeper_{name}", words, labels=labels)
    for key, value in samples:
        counter.add_metric(key, value)
    return counter
