"""README and code tell the same: commands, events, dependencies."""

import re
import tomllib
from pathlib import Path

import click
import pytest

from voicekeeper.cli.main import program
from voicekeeper.events import MEANINGS, Event

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def _table(header: str) -> list[list[str]]:
    """Return the rows of the README table that begins with this header line."""
    lines = README[README.index(header) :].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize(
    ("place", "ending"), [(0, "voicekeeper demo"), (1, "python -m pytest")], ids=["demo", "tests"]
)
def test_the_first_two_blocks_are_one_command_each(place: int, ending: str) -> None:
    lines = _blocks()[place].splitlines()

    assert len(lines) == 1
    assert lines[0].startswith("python3 -m venv ")
    assert lines[0].endswith(ending)


def test_the_table_of_events_is_the_catalogue() -> None:
    told = {row[0].strip("`"): (row[1], row[2]) for row in _table("| event | level | meaning |")}

    assert told == {event: (meaning.level, meaning.text) for event, meaning in MEANINGS.items()}


def test_every_event_is_told_somewhere_in_the_code() -> None:
    code = "\n".join(
        path.read_text()
        for path in (ROOT / "voicekeeper").rglob("*.py")
        if path.name != "events.py"
    )

    assert [event for event in Event if f"Event.{event.name}" not in code] == []


def test_the_table_of_commands_names_every_command() -> None:
    told = re.findall(r"`([a-z_]+)`", " ".join(row[0] for row in _table("| command | does |")))

    assert sorted(told) == sorted(program.list_commands(click.Context(program)))


def test_every_dependency_has_its_reason() -> None:
    packages = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    wanted = {re.split(r"[<>=]", each)[0] for each in packages}
    told = {name.strip() for row in _table("| package | for |") for name in row[0].split(",")}

    assert told == wanted


def test_the_layers_in_the_readme_name_every_module() -> None:
    told = set(re.findall(r"`([a-z_]+)`", " ".join(row[1] for row in _table("| layer | modules"))))
    modules = {
        path.stem
        for path in (ROOT / "voicekeeper").iterdir()
        if not path.name.startswith(("_", ".")) and (path.suffix == ".py" or path.is_dir())
    }

    assert told == modules


def test_the_page_on_the_rehearsal_tells_every_option_of_it() -> None:
    page = (ROOT / "docs" / "rehearsal.md").read_text()
    command = program.get_command(click.Context(program), "rehearse")
    assert command is not None
    options = {option for parameter in command.params for option in parameter.opts}

    assert [option for option in sorted(options) if option not in page] == []


def test_the_links_in_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)

    assert {"docs/rehearsal.md", "docs/alerts.md"} <= set(links)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_changelog_knows_the_version() -> None:
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()
