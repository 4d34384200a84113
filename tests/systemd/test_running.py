"""What the service tells of itself while it runs, and what it leaves on its host."""

import json
import re

import pytest

from tests.systemd.service import STATE, Service, readme_commands

PRIORITY = {"debug": "7", "info": "6", "warning": "4", "error": "3"}


@pytest.fixture(scope="module")
def running(service: Service) -> Service:
    """The service with a voice that it keeps, and one that the gateway does not know."""
    service.fresh("narrator")
    service.voicekeeper("add", "id-nobody", "--name", "nobody")
    service.await_told("keepalive.succeeded", name="narrator")
    service.await_told("keepalive.failed", name="nobody")
    return service


def test_its_status_tells_how_many_voices_are_kept(running: Service) -> None:
    assert re.fullmatch(r"\d+ voices? kept, next due (now|in .*)", running.shown("StatusText"))


def test_every_line_of_the_journal_is_json_with_its_priority(running: Service) -> None:
    own = [entry for entry in running.journal() if entry.get("_COMM", "").startswith("voicekeeper")]
    levels = {json.loads(entry["MESSAGE"])["level"] for entry in own}
    assert {"info", "warning"} <= levels
    for entry in own:
        assert entry["PRIORITY"] == PRIORITY[json.loads(entry["MESSAGE"])["level"]], entry


def test_the_journal_by_priority_shows_what_may_need_a_person(running: Service) -> None:
    (by_priority, *_) = readme_commands(running.machine, "Read the logs")
    shown = running.machine.sh(f"{by_priority.partition('#')[0]} -o cat --since {running.since}")
    lines = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
    wanted = [line for line in running.lines() if line["level"] in ("warning", "error")]
    assert lines == wanted[: len(lines)]
    assert {line["event"] for line in lines} >= {"keepalive.failed"}


@pytest.mark.parametrize(("place", "what"), [(1, "narrator"), (2, "errors")])
def test_the_jq_lines_of_the_readme_find_what_they_say(
    running: Service, place: int, what: str
) -> None:
    running.await_told("voice.lost" if what == "errors" else "keepalive.succeeded")
    line = readme_commands(running.machine, "Read the logs")[place]
    line = line.replace("-o cat", f"-o cat --since {running.since}")
    shown = running.machine.sh(line)
    if what == "errors":
        assert "voice.lost" in shown.split()
        assert set(shown.split()) == {e["event"] for e in running.lines() if e["level"] == "error"}
    else:
        assert '"keepalive.succeeded"' in shown
        assert '"nobody"' not in shown


def test_the_state_is_closed_to_everybody_else(running: Service) -> None:
    listed = running.machine.sh(f"stat -c '%U:%G %a %n' {STATE} {STATE}/* /run/voicekeeper")
    directories = running.machine.sh(f"find {STATE} -mindepth 1 -type d -printf '%f\\n'").split()
    modes = {line.rpartition("/")[2]: line.rpartition(" ")[0] for line in listed.splitlines()}
    assert modes.pop("voicekeeper.db") == "voicekeeper:voicekeeper 600"
    assert modes.pop("voicekeeper") == "voicekeeper:voicekeeper 700"
    assert all(modes.pop(name) == "voicekeeper:voicekeeper 700" for name in directories)
    assert set(modes.values()) == {"voicekeeper:voicekeeper 600"}


@pytest.mark.parametrize("command", ["list", "add"])
def test_root_beside_it_leaves_no_file_that_it_cannot_write(running: Service, command: str) -> None:
    if command == "list":
        assert "narrator" in running.voicekeeper("list").stdout
    else:
        running.add("berta")
        running.await_told("keepalive.succeeded", name="berta")
    foreign = f"find {STATE} /run/voicekeeper ! -user voicekeeper -o ! -group voicekeeper"
    assert running.machine.sh(foreign) == ""


def test_its_exposure_is_at_most_one_point_two(running: Service) -> None:
    done = running.machine.run(
        "systemd-analyze", "security", "--threshold=12", running.unit, check=False
    )
    assert done.returncode == 0, done.stdout
    assert running.told("keepalive.succeeded")  # and SQLite and the calls work under it
