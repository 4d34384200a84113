"""The command ``voicekeeper rehearse``, as a person and a script meet it."""

import os
import pty
import select
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from tests.command import CommandLine, Ended, sentence
from tests.examples import DAY, HOUR, POLICY
from voicekeeper.cli import rehearsed
from voicekeeper.cli.rehearsed import Mark, plot
from voicekeeper.config import load
from voicekeeper.rehearsal import campaign
from voicekeeper.rehearsal.campaign import Outcome, Scenario
from voicekeeper.rehearsal.clock import BEGINNING
from voicekeeper.rehearsal.faults import HOST_DOWN, OUTAGE, Plan, lasting
from voicekeeper.rehearsal.invariants.keeping import Backlog
from voicekeeper.rehearsal.report import Report, longest_gap

CONTRACT = {
    *("schema", "seed", "voices", "days", "saveable_lost", "unsaveable_lost"),
    *("smallest_margin_s", "keepalives", "polls", "cost_usd", "faults", "trace"),
}
"""The keys that scripts depend on."""

NOBODY = "nobody could have saved"
SHORT = ("rehearse", "--voices", "2", "--days", "8")


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "voicekeeper.db")


def values(ended: Ended, label: str) -> list[str]:
    """Return what the lines with this label tell."""
    pairs = (line.split("\t") for line in ended.out.splitlines()[1:])
    return [value for name, value in pairs if name == label]


def report(**facts: object) -> Report:
    """Return the report of a year in which all went well."""
    usual: dict[str, object] = {
        "seed": 1,
        "voices": 10,
        "days": 365,
        "saveable_lost": 0,
        "unsaveable_lost": 0,
        "smallest_margin": 4 * DAY,
        "keepalives": 1330,
        "polls": 1800,
        "cost_micros": 79_800,
        "faults": {},
        "transitions": {},
        "backlogs": [],
        "margins": [],
        "broken": [],
        "trace": "0",
    }
    return Report(**usual | facts)  # type: ignore[arg-type]


def scenario(plan: Plan = Plan(), *, chaos: bool = False) -> Scenario:  # noqa: B008 - immutable
    return Scenario(load(None, {}), plan, voices=10, days=365, chaos=chaos)


# The command.


def test_one_seed_tells_one_story_in_every_process(cli: CommandLine) -> None:
    story = (*SHORT, "--chaos", "--seed", "5", "--json")
    first, second = (cli.process(*story, environ={"PYTHONHASHSEED": seed}) for seed in "17")
    assert first.err == second.err == ""
    assert first.out == second.out
    assert set(first.json) >= CONTRACT
    assert (first.json["schema"], first.json["seed"]) == (1, 5)
    assert cli(*SHORT, "--chaos", "--seed", "6", "--json").json["trace"] != first.json["trace"]


def test_a_pipe_takes_the_verdict_and_lines_of_two_columns(cli: CommandLine) -> None:
    ended = cli(*SHORT)
    assert (ended.code, ended.err) == (0, "")
    first, *lines = ended.out.splitlines()
    assert first == "No voice was lost."
    assert [line.partition("\t")[0] for line in lines] == [
        *("rehearsed", "lost", "lost", "margin", "calls", "polls", "money", "speed", "trace")
    ]
    assert values(ended, "rehearsed") == [
        "2 voices for 8 days, seed 1; interval 3d of a window of 7d"
    ]


def test_neither_key_nor_network_nor_registry_is_needed_or_made(
    cli: CommandLine, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert cli(*SHORT).code == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_my_settings_are_what_is_rehearsed_and_a_promise_not_kept_ends_with_1(
    cli: CommandLine, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('[keepalive]\ninterval = "6d23h"\njitter = "0s"\n')
    fleet = ("--voices", "8", "--days", "6")
    down = ("--host-down", "44h@day0.3", "--host-down", "44h@day3")
    ended = cli("--config", str(mine), "rehearse", *fleet, *down)
    assert ended.code == 1
    assert "lost that could have been saved" in ended.out.splitlines()[0]
    assert not ended.out.startswith("No voice")
    assert values(ended, "rehearsed")[0].endswith("interval 6d23h of a window of 7d")
    assert values(ended, "backlog") == ["none after 2 faults: no voice was overdue"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--outage", "2d"], "'--outage': must be DURATION@dayN such as 2d@day40"),
        (["--outage", "-2d@day4"], "'--outage': must be DURATION@dayN"),
        (["--outage", "soon@day4"], "'--outage': must be a duration"),
        (["--outage", "2d@day" + "9" * 400], "'--outage': must be DURATION@dayN"),
        (["--host-down", "0s@day4"], "'--host-down': must be longer than 0s"),
        (["--host-down", "30h@day365"], "'--host-down': '30h@day365' lies past the end"),
        (["--clock-jump", "+5d"], "'--clock-jump': must be DURATION@dayN such as -5d@day10"),
        (["--clock-jump", "-20000d@day3"], "'--clock-jump': must set the clock by at most"),
        (["--clock-jump", "-5d@day366"], "'--clock-jump': '-5d@day366' lies past the end"),
        (["--seed", "-1"], "'--seed': -1 is not in the range"),
        (["--seeds", "9-1"], "'--seeds': must begin with the smaller seed"),
        (["--seeds", "some"], "'--seeds': must be seeds such as 1-300"),
        (["--seeds", "1-20000"], "'--seeds': must be at most"),
        (["--seeds", "1-2", "--seed", "1"], "--seed and --seeds exclude each other"),
        (["--jobs", "2"], "--jobs is for a campaign"),
    ],
    ids=" ".join,
)
def test_an_option_that_cannot_be_used_is_named_in_a_sentence(
    cli: CommandLine, options: list[str], told: str
) -> None:
    ended = cli("rehearse", *options)
    assert ended.code == 2
    assert told in sentence(ended)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("options", [[], ["--seeds", "1-4", "--jobs", "1"]], ids=["one", "many"])
def test_ctrl_c_and_sigterm_end_it_and_its_processes_without_a_word(
    cli: CommandLine, options: list[str], number: signal.Signals
) -> None:
    mine, its = pty.openpty()
    words = cli.command("rehearse", "--days", "3650", *options)
    with subprocess.Popen(words, env=cli.environ, stdout=subprocess.PIPE, stderr=its) as process:
        os.close(its)
        shown = _read_until(b"rehearsing", mine)
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
        shown += _read_until(None, mine)
        os.close(mine)
    assert (process.returncode, out) == (128 + number, b"")
    assert b"Traceback" not in shown
    assert b"Error" not in shown


def _read_until(wanted: bytes | None, terminal: int) -> bytes:
    """Return what a terminal shows until it shows what is wanted, or nobody writes any more."""
    shown = b""
    while wanted is None or wanted not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
    return shown


# A campaign.


def test_a_campaign_tells_each_seed_as_it_is_told_alone(cli: CommandLine) -> None:
    ended = cli.process(*SHORT, "--outage", "12h@day3", "--seeds", "3,7", "--jobs", "2", "--json")
    alone = [cli(*SHORT, "--outage", "12h@day3", "--seed", s, "--json").json for s in "37"]
    assert (ended.code, ended.err) == (0, "")
    assert ended.json["passed"] is True
    assert ended.json["seeds"] == alone
    assert ended.json["coverage"]["outage"] == 2


def test_a_campaign_imports_nothing_from_the_folder_it_is_run_in(
    cli: CommandLine, tmp_path: Path
) -> None:
    """Root may stand in a folder of another's."""
    (tmp_path / "multiprocessing.py").write_text("open('ran', 'w')")
    program = tmp_path / "bin" / "voicekeeper"
    program.parent.mkdir()
    program.write_text("if __name__ == '__main__':\n    from voicekeeper.cli import main; main()\n")
    done = subprocess.run(
        [sys.executable, program, *SHORT, "--seeds", "1-2", "--jobs", "1"],
        cwd=tmp_path,
        env={**cli.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not (tmp_path / "ran").exists()
    assert done.returncode == 0, done.stderr


def test_a_campaign_in_which_something_never_happened_fails(cli: CommandLine) -> None:
    ended = cli(*SHORT, "--chaos", "--seeds", "1", "--jobs", "1")
    assert ended.code == 1
    assert ended.out.splitlines()[0].startswith("FAIL: what never happened was not tested")
    assert values(ended, "happened wrong-account") == ["0"]


def test_a_seed_that_failed_is_told_in_a_line() -> None:
    broken = Outcome(7, 1.0, report(saveable_lost=2, broken=["v1 was paid for twice", "so was v2"]))
    bug = Outcome(8, 1.0, None, "the program failed by a bug, KeyError: 1 (sweep, line 3)")
    assert rehearsed.failed(broken) == (
        "seed 7: lost 2 voices that could have been saved; v1 was paid for twice and 1 more"
    )
    assert rehearsed.failed(bug).startswith("seed 8: the program failed by a bug, KeyError")
    assert rehearsed.campaign_verdict([broken, bug], []) == "FAIL: 2 of 2 seeds broke the promise."


def test_every_promised_thing_has_to_happen_once() -> None:
    groups = campaign.PROMISED
    all_of_it = {group[-1]: 1 for group in groups}
    met = Outcome(1, 1.0, report(faults=all_of_it))
    without = Outcome(1, 1.0, report(faults=all_of_it | {"hang": 0, groups[-1][-1]: 0}))
    assert campaign.missing([met], scenario(chaos=True)) == []
    assert campaign.missing([without], scenario(chaos=True)) == [
        "hang",
        "NEW-UNKNOWN or DEPLOYING-UNKNOWN",
    ]
    assert campaign.missing([without], scenario()) == []


# The verdict.


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, "No voice was lost."),
        (
            {"unsaveable_lost": 1},
            f"No voice was lost that could have been saved; 1 was lost that {NOBODY}.",
        ),
        ({"saveable_lost": 1}, "1 voice was lost that could have been saved."),
        (
            {"saveable_lost": 2, "unsaveable_lost": 3},
            "2 voices were lost that could have been saved, and 3 that nobody could have.",
        ),
        (
            {"broken": ["v1 was paid for twice"]},
            "No voice was lost. The promise was broken once otherwise; see below.",
        ),
    ],
)
def test_the_verdict_is_a_sentence(facts: dict[str, object], told: str) -> None:
    assert rehearsed.verdict(report(**facts), scenario(), POLICY) == told


def test_after_a_loss_an_interval_is_advised_that_has_room() -> None:
    plan = lasting(OUTAGE, 20 * DAY, 5 * DAY)
    told = rehearsed.verdict(report(unsaveable_lost=4), scenario(plan), POLICY)
    assert told.endswith(
        " Nothing worked for 5 d: an interval of 1d12h has room for that, one of 3d has not."
        " Rehearse it with VOICEKEEPER_KEEPALIVE__INTERVAL=1d12h."
    )


def test_nothing_is_advised_against_an_outage_longer_than_the_window() -> None:
    plan = lasting(OUTAGE, 20 * DAY, 8 * DAY)
    told = rehearsed.verdict(report(unsaveable_lost=10), scenario(plan), POLICY)
    assert told.endswith("no interval helps against that.")


@pytest.mark.parametrize(
    ("gap", "longest"), [(HOUR, 3 * DAY + HOUR), (2 * HOUR, 2 * DAY)], ids=["short", "long"]
)
def test_two_troubles_are_one_unless_a_voice_could_be_saved_between_them(
    gap: timedelta, longest: timedelta
) -> None:
    plan = lasting(OUTAGE, DAY, 2 * DAY) + lasting(HOST_DOWN, 3 * DAY + gap, DAY)
    assert longest_gap(plan, POLICY) == longest


def test_of_many_backlogs_the_longest_are_told_and_the_others_counted() -> None:
    def backlog(day: int, voices: int, took: timedelta | None) -> Backlog:
        return Backlog("outage", BEGINNING + day * DAY, voices, took, set())

    backlogs = [backlog(day, 3, timedelta(minutes=day)) for day in range(1, 9)]
    backlogs += [backlog(9, 3, None), backlog(10, 0, timedelta(0))]
    told = [
        line
        for label, line in rehearsed.rows(report(backlogs=backlogs), scenario(), POLICY)
        if label == "backlog"
    ]
    assert told[0] == "3 voices overdue after outage to day 9, never drained"
    assert told[1] == "3 voices overdue after outage to day 8, drained in 8 min"
    assert told[6:] == [
        "3 more, which were drained sooner",
        "none after 1 fault: no voice was overdue",
    ]


# The plot.


@pytest.mark.parametrize("days", [1, 7, 60, 70, 71, 365, 3650])
@pytest.mark.parametrize("plain", [True, False])
def test_the_plot_fits_a_terminal_and_marks_the_troubles(days: int, plain: bool) -> None:  # noqa: FBT001
    marks = [Mark("o", "outage", 0, days), Mark("j", "clock-jump", days, days)]
    drawn = plot([4 * DAY] * days, marks, window=7 * DAY, columns=80, plain=plain).plain
    assert max(map(len, drawn.splitlines())) <= 80
    assert drawn.isascii() == plain
    assert drawn.splitlines()[-1] == "j clock-jump, o outage, * several"


def test_the_plot_shows_the_least_of_the_days_in_a_column() -> None:
    margins = [7 * DAY] * 200
    margins[100] = 1 * DAY
    drawn = plot(margins, [], window=7 * DAY, columns=80, plain=True).plain.splitlines()
    top = drawn[0].partition("|")[2]
    assert drawn[0].startswith("     7 d |")
    assert top == "#" * 35 + " " + "#" * 34
    assert drawn[6].partition("|")[2] == "#" * 70
    assert drawn[-1].split() == ["day", *(str(day) for day in range(0, 200, 30))]


def test_a_day_on_which_no_voice_lives_is_empty() -> None:
    drawn = plot([None, 7 * DAY], [], window=7 * DAY, columns=80, plain=True).plain.splitlines()
    assert {line.partition("|")[2] for line in drawn[:7]} == {" " * 35 + "#" * 35}


def test_ctrl_c_waits_for_the_workers_to_start_whichever_thread_it_strikes() -> None:
    """A worker that is half started when the campaign ends would print a traceback."""
    begun, struck = threading.Event(), threading.Event()

    def strike() -> None:
        begun.wait(10)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        struck.set()

    another = threading.Thread(target=strike)
    another.start()  # before: it takes the signal
    steps = []

    def start() -> None:
        with campaign._ctrl_c_held_back():  # noqa: SLF001
            begun.set()
            assert struck.wait(10)
            steps.append("the workers are started")

    with pytest.raises(KeyboardInterrupt):
        start()
    another.join()
    assert steps == ["the workers are started"]


def test_the_rehearsal_in_the_readme_goes_as_it_tells(cli: CommandLine) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    _, _, block = readme.partition("$ VOICEKEEPER_KEEPALIVE__INTERVAL=5d voicekeeper ")
    words, *shown = block.partition("\n```")[0].splitlines()
    ended = cli(*words.split(), environ={"VOICEKEEPER_KEEPALIVE__INTERVAL": "5d"})
    told = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert told[0] == " ".join(shown[:3])
    labels = ("margin", "calls", "money", "backlog")
    figures = [" ".join(line.split()) for line in shown if line.startswith(labels)]
    assert len(figures) == len(labels)
    assert set(figures) <= set(told)
