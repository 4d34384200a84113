"""What people are told of money: each task's price, totals, the day's budget, and the balance."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.command import CommandLine
from tests.support import DAY, HOUR, MINUTE, Life, imported, wanted
from voicekeeper.core.models import Origin
from voicekeeper.errors import CallFailed

BUDGET = {"VOICEKEEPER_BUDGET__ENROLLMENTS_USD_PER_DAY": "0.032"}


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path, enrollments_per_day=32_000)


@pytest.fixture
def cli(tmp_path: Path, life: Life) -> CommandLine:
    """Return the commands on the registry of that life, at its time and with its budget."""
    return CommandLine(tmp_path / "voicekeeper.db", clock=life.clock, environ=BUDGET)


def lose_the_answer_to(life: Life, subject: str) -> None:
    lost = CallFailed("no answer", ambiguous=True)
    life.upstream.trouble = lambda call: lost if call.subject == subject else None


def test_history_tells_the_price_of_each_task_that_was_accepted(
    life: Life, cli: CommandLine
) -> None:
    life.register(wanted("anna"))
    life.live(3 * DAY)
    told = [
        line.split()[1:]
        for line in cli("history", "anna").out.splitlines()
        if line.split()[1].endswith(".submitted")
    ]
    (enrolled, clone), *kept = [(event, cost) for event, _, cost in told]
    assert (enrolled, clone) == ("enrollment.submitted", "cost=$0.002")
    assert kept == [("keepalive.submitted", "cost=$0.00006")]
    costs = [e.get("cost_micros") for e in cli("history", "anna", "--json").json["history"]]
    assert [cost for cost in costs if cost is not None] == [2_000, 60]


def test_show_tells_what_a_voice_cost_and_apart_what_it_may_have(
    life: Life, cli: CommandLine
) -> None:
    life.register(wanted("anna"), wanted("bert", Origin.DESIGN))
    lose_the_answer_to(life, "demo02")
    life.live(3 * DAY)
    assert "cost so far\t$0.00206 (estimate)\n" in cli("show", "anna").out
    assert "cost so far\t$0.00, and possibly $0.03 more (estimate)\n" in cli("show", "bert").out
    assert " possible_cost=$0.03" in cli("history", "bert").out
    anna, bert = (cli("show", name, "--json").json for name in ("anna", "bert"))
    assert (anna["spent_usd"], anna["possibly_spent_usd"]) == (0.00206, 0.0)
    assert (bert["spent_usd"], bert["possibly_spent_usd"]) == (0.0, 0.03)


def test_status_adds_up_today_thirty_days_and_all_that_was_ever(
    life: Life, cli: CommandLine
) -> None:
    """A clone 40 days ago, one 20 days ago, one today; and a design whose answer was lost."""
    lose_the_answer_to(life, "demo02")
    for name, then in {"old": 20 * DAY, "older": 20 * DAY, "new": MINUTE}.items():
        life.register(wanted(name, prefix=name))
        life.live(MINUTE)
        cli("remove", name)
        life.clock.advance(then)
    life.register(wanted("lost", Origin.DESIGN), imported("kept"))
    life.live(MINUTE)
    document = cli("status", "--json").json
    assert document["spent_usd"] == {"today": 0.00206, "last_30_days": 0.00406, "ever": 0.00606}
    possible = {"today": 0.03, "last_30_days": 0.03, "ever": 0.03}
    assert document["possibly_spent_usd"] == possible
    assert document["forecast_usd"] == {"day": 0.000022, "year": 0.007964}
    assert cli("status").out.splitlines()[-3:] == [
        "  spent, by the gateway's prices: $0.00206 today, $0.00406 in 30 days, $0.00606 ever",
        "  possibly spent too, as no answer told: $0.03 today, $0.03 in 30 days, $0.03 ever",
        "  keeping it costs about $0.000022 a day, $0.008 a year",
    ]


def hold_one(life: Life) -> None:
    """Let the day's budget be spent on one design and one clone, and one more be wanted."""
    life.register(wanted("anna", Origin.DESIGN), wanted("bert", prefix="bert"))
    life.register(wanted("carl", Origin.DESIGN, prefix="carl"))
    life.live(HOUR)
    asyncio.run(life.one_pass())


def test_all_that_people_read_says_that_a_voice_is_held_until_when_and_what_to_set(
    life: Life, cli: CommandLine
) -> None:
    hold_one(life)
    for told in (
        cli("list").out.splitlines()[2],
        cli("show", "carl").out,
        cli("history", "carl").out,
        cli("status").out,
    ):
        assert "2026-05-02T00:00:00Z" in told
        assert "raise budget.enrollments_usd_per_day and reload the daemon" in told
    assert "next keepalive\tin 11 h" in cli("show", "carl").out
    ended = cli("status", "--json")
    assert (ended.code, ended.json["status"], ended.json["held"]) == (1, "warning", 1)
    assert "1 voice NEW and held" in ended.json["findings"][0]


@pytest.mark.parametrize(
    "args",
    [
        ["clone", "dora", "--prefix", "dora", "--audio-url", "https://example.com/a.wav"],
        ["design", "dora", "--prefix", "dora", "--prompt", "Warm.", "--preview-text", "Hello."],
        ["retry", "bert"],
    ],
)
def test_who_asks_for_more_than_the_day_allows_is_told_at_once(
    life: Life, cli: CommandLine, args: list[str]
) -> None:
    lose_the_answer_to(life, "bert")
    hold_one(life)
    ended = cli(*args)
    assert ended.code == 0
    assert f"note: {args[1]} is held until 2026-05-02T00:00:00Z: $0.032 of the day's" in ended.err


def test_status_tells_the_balance_that_a_daemon_noted_and_for_how_long_it_lasts(
    life: Life, cli: CommandLine
) -> None:
    life.register(imported("anna"))
    asyncio.run(life.keeper.upkeep.note_balance())
    life.live(MINUTE)
    line = "the balance was $74.87 at 2026-05-01T12:00:00Z, enough for more than 36500 days"
    assert cli("status").out.splitlines()[-1] == f"  {line} of keepalives"
    document = cli("status", "--json").json
    assert (document["balance_usd"], document["balance_at"]) == (74.87, "2026-05-01T12:00:00Z")
    assert document["runway_days"] == 3_431_541
    life.worklist.note_balance(500, now=life.clock.now())
    ended = cli("status")
    assert ended.code == 1
    assert "  warning: the balance was $0.0005 at 2026-05-01T12:01:00Z, enough for 22" in ended.out


def test_json_has_no_amount_that_rounding_has_touched(life: Life, cli: CommandLine) -> None:
    life.register(*(imported(f"voice-{number}") for number in range(7)))
    life.live(DAY)
    spent = json.loads(cli("status", "--json").out)["spent_usd"]["ever"]
    assert round(spent * 1_000_000) == life.books().cost_micros
    assert len(str(spent).partition(".")[2]) <= 6
