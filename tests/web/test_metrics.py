"""What Prometheus is told, and that it understands it."""

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import DAY, HOUR, MINUTE, NOW, SECOND, Life, imported, wanted
from tests.web_support import free_port, get, served, settings
from voicekeeper.errors import CallFailed
from voicekeeper.store import fleet
from voicekeeper.web import metrics
from voicekeeper.web.metrics import WebCounts

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
DOCS = ROOT / "docs" / "monitoring.md"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"
)


def exposition(life: Life, web: WebCounts | None = None) -> str:
    figures = fleet.figures(life.database, now=life.clock.now(), policy=life.policy)
    return metrics.exposition(figures, web or WebCounts(), life.policy).decode()


def samples(text: str) -> dict[str, float]:
    """Return every sample by its name with its labels."""
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def lived(tmp_path: Path) -> Life:
    """Return a life of two days in which all that is told of has happened."""
    life = Life(tmp_path)
    life.register(imported("anna", last_used_at=NOW - 2 * DAY), wanted("made"))
    life.live(2 * DAY)
    return life


def test_the_fleet_is_counted_as_it_is(tmp_path: Path) -> None:
    life = lived(tmp_path)
    anna = life.voice("anna")
    told = samples(exposition(life))
    assert anna.last_used_at is not None
    assert anna.next_at is not None
    expected = {
        "voicekeeper_voices[OK]": 2,
        "voicekeeper_voices[LOST]": 0,
        "voicekeeper_voices_kept": 2,
        "voicekeeper_voices_due": 0,
        "voicekeeper_voice_deadline_timestamp_seconds[anna]": (
            anna.last_used_at + 7 * DAY
        ).timestamp(),
        "voicekeeper_voice_last_success_timestamp_seconds[anna]": anna.last_used_at.timestamp(),
        "voicekeeper_voice_next_due_timestamp_seconds[anna]": anna.next_at.timestamp(),
        "voicekeeper_attempts_total[keepalive][success]": 1,
        "voicekeeper_attempts_total[clone][success]": 1,
        "voicekeeper_attempts_total[keepalive][failed]": 0,
        "voicekeeper_tasks_open[keepalive]": 0,
        "voicekeeper_breaker_open[cosyvoice-3-flash]": 0,
        "voicekeeper_spent_usd_total[clone]": 0.002,
        "voicekeeper_spent_usd_total[keepalive]": 0.00006,
        "voicekeeper_voice_margin_seconds_count": 2,
        "voicekeeper_voice_margin_seconds_bucket[0.0]": 0,
        "voicekeeper_voice_margin_seconds_bucket[604800.0]": 2,
    }
    assert {name: told[name] for name in expected} == expected
    last_pass = told["voicekeeper_last_pass_timestamp_seconds"]
    assert last_pass <= life.clock.now().timestamp() + 1


def test_calls_under_way_failures_and_a_breaker_that_opened_are_told(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(*(imported(f"v{n}", last_used_at=NOW - 4 * DAY) for n in range(3)))
    life.upstream.trouble = lambda _: CallFailed("no key", code=401)
    life.live(MINUTE)
    told = samples(exposition(life))
    assert told["voicekeeper_breaker_open[cosyvoice-3-flash]"] == 1
    assert told["voicekeeper_attempts_total[keepalive][refused]"] > 0
    assert told["voicekeeper_voices_due"] > 0
    assert told["voicekeeper_spent_usd_total[keepalive]"] == 0


def test_the_balance_and_the_day_it_lasts_to_are_told_once_they_are_known(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))
    assert "voicekeeper_balance_usd" not in samples(exposition(life))
    asyncio.run(life.keeper.upkeep.note_balance())
    told = samples(exposition(life))
    assert told["voicekeeper_balance_usd"] == 74.87
    assert told["voicekeeper_balance_timestamp_seconds"] == NOW.timestamp()
    assert told["voicekeeper_runway_seconds"] > 1000 * 86_400


def test_margins_are_counted_by_what_is_left(tmp_path: Path) -> None:
    life = Life(tmp_path)
    ages = [8 * DAY, 7 * DAY - HOUR, 6 * DAY, DAY, HOUR]
    life.register(*(imported(f"v{n}", last_used_at=NOW - age) for n, age in enumerate(ages)))
    life.register(imported("paused", last_used_at=NOW - 5 * DAY, paused=True), wanted("unmade"))
    told = samples(exposition(life))
    counted = {
        hours: told[f"voicekeeper_voice_margin_seconds_bucket[{hours * 3600.0}]"]
        for hours in (0, 12, 24, 48, 144, 168)
    }
    assert counted == {0: 1, 12: 2, 24: 3, 48: 3, 144: 4, 168: 5}
    hours = (0 + 1 + 24 + 144 + 167) * 3600
    assert told["voicekeeper_voice_margin_seconds_sum"] == pytest.approx(hours, abs=1)


def test_a_voice_that_is_removed_leaves_no_series_behind_and_its_calls_stay_counted(
    tmp_path: Path,
) -> None:
    life = lived(tmp_path)
    before = samples(exposition(life))
    life.registry.remove("anna", now=life.clock.now())
    after = samples(exposition(life))
    gone = {name for name in before if "[anna]" in name}
    assert len(gone) == 3
    assert before.keys() - after.keys() == gone
    calls = "voicekeeper_attempts_total[keepalive][success]"
    assert after[calls] == before[calls]


def test_past_a_thousand_voices_the_hundred_most_urgent_have_series_of_their_own(
    tmp_path: Path,
) -> None:
    life = Life(tmp_path)
    life.register(*(imported(f"v{n}", last_used_at=NOW - n * MINUTE) for n in range(fleet.ALL)))
    assert exposition(life).count("\nvoicekeeper_voice_deadline_timestamp_seconds{") == fleet.ALL
    life.register(imported("fresh", last_used_at=NOW))
    text = exposition(life)
    named = re.findall(r"voice_deadline_timestamp_seconds\{name=\"(\w+)\"", text)
    assert named == [f"v{n}" for n in range(fleet.ALL - 1, fleet.ALL - fleet.URGENT - 1, -1)]
    assert samples(text)["voicekeeper_voice_margin_seconds_count"] == fleet.ALL + 1


def test_a_voice_that_is_not_kept_has_no_series_that_could_wake_somebody(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna", last_used_at=NOW), imported("bert", last_used_at=NOW))
    life.registry.pause("bert", now=NOW)
    text = exposition(life)
    assert 'name="anna"' in text
    assert 'name="bert"' not in text


def whole(tmp_path: Path) -> str:
    """Return an exposition in which every metric has a sample."""
    life = lived(tmp_path)
    asyncio.run(life.keeper.upkeep.note_balance())
    return exposition(life, WebCounts(webhooks={"heeded": 1}, refused={"slow": 1}))


def test_the_table_in_the_docs_is_what_prometheus_is_told(tmp_path: Path) -> None:
    text = whole(tmp_path)
    told = {}
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = sorted({label for s in family.samples for label in s.labels} - {"le"})
        told[name] = (family.type, ", ".join(labels), family.documentation)
    row = r"^\| `(voicekeeper_\w+)` \| (\w+) \| (.*?) ?\| (.*) \|$"
    rows = re.findall(row, DOCS.read_text(), flags=re.MULTILINE)
    assert {name: tuple(cells) for name, *cells in rows} == told


def test_what_the_rules_and_the_dashboard_ask_for_is_told(tmp_path: Path) -> None:
    told = {re.sub(r"\[.*", "", name) for name in samples(whole(tmp_path))}
    for file in ("alerts.yml", "grafana.json"):
        asked = set(re.findall(r"\bvoicekeeper_\w+", (MONITORING / file).read_text()))
        assert asked - told == set(), file
    panels = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def promtool(*arguments: str, stdin: str = "") -> None:
    done = subprocess.run(
        ["promtool", *arguments],
        cwd=MONITORING,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_has_nothing_to_say_of_the_metrics(tmp_path: Path) -> None:
    promtool("check", "metrics", stdin=whole(tmp_path))


@needs_promtool
@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "prometheus.yml"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_promtool_takes_the_rules_and_their_tests_pass(words: tuple[str, ...]) -> None:
    promtool(*words)


def test_every_rule_has_a_case_that_fires_and_one_that_does_not() -> None:
    rules = re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text())
    cases = (MONITORING / "alerts_test.yml").read_text()
    silent = set(re.findall(r"eval_time: 6h, alertname: (\w+)\}", cases))
    firing = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts", cases))
    assert (silent, firing) == (set(rules), set(rules))


def test_a_scrape_is_read_from_the_database(tmp_path: Path) -> None:
    life = Life(tmp_path)
    (empty,) = get(life, "/metrics")
    life.register(imported("anna", last_used_at=NOW - SECOND))
    (one,) = get(life, "/metrics")
    assert empty.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(empty.text)["voicekeeper_voices_kept"] == 0
    assert samples(one.text)["voicekeeper_voices_kept"] == 1


@pytest.mark.host
@needs_prometheus
def test_a_real_prometheus_scrapes_the_daemon(tmp_path: Path) -> None:
    life = lived(tmp_path)
    port, own = free_port(), free_port()
    config = (MONITORING / "prometheus.yml").read_text()
    config = config.replace("127.0.0.1:9464", f"127.0.0.1:{port}")
    config = config.replace("_interval: 1m", "_interval: 1s\n    scrape_timeout: 1s")
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(MONITORING / "alerts.yml", tmp_path)

    async def query(client: httpx.AsyncClient, words: str) -> list[Any]:
        url = f"http://127.0.0.1:{own}/api/v1/query"
        try:
            answer = await client.get(url, params={"query": words})
        except httpx.TransportError:
            return []  # it is starting still
        return list(answer.json()["data"]["result"]) if answer.status_code == 200 else []

    async def scrape() -> dict[str, str]:
        prometheus = await asyncio.create_subprocess_exec(
            "prometheus",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{own}",
            cwd=tmp_path,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with served(life, settings(web=port)) as client:
                async with asyncio.timeout(30):
                    found: list[Any] = []
                    while not found:
                        await asyncio.sleep(0.1)
                        found = await query(client, "voicekeeper_voices == 2")
                up = await query(client, 'up{job="voicekeeper"}')
                assert [sample["value"][1] for sample in up] == ["1"]
                return dict(found[0]["metric"])
        finally:
            prometheus.kill()
            await prometheus.wait()

    metric = asyncio.run(scrape())
    assert (metric["job"], metric["status"]) == ("voicekeeper", "OK")
