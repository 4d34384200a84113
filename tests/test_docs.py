"""The docs and the code tell the same: commands, events, settings, exit codes, dependencies."""

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TypeGuard

import click
import pytest

from voicekeeper import errors
from voicekeeper.cli.commands import manual
from voicekeeper.cli.program import program
from voicekeeper.config import Settings, unchangeable
from voicekeeper.config.settings import keys
from voicekeeper.core.duration import compact
from voicekeeper.core.events import Event
from voicekeeper.core.health import Severity
from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import EXIT_CODES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
_SETTINGS = "| setting | default | changes by | meaning |"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def _table(header: str, text: str = README) -> list[list[str]]:
    """Return the rows of the table that begins with this header line."""
    lines = text[text.index(header) :].splitlines()[2:]
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
    assert told == {event: (event.level, event.meaning) for event in Event}


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
    wanted = {re.split(r"[<>=[]", each)[0] for each in packages}
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


def test_the_table_of_settings_tells_each_with_its_default_and_how_it_changes() -> None:
    told = {row[0].strip("`"): (row[1].strip("`"), row[2]) for row in _table(_SETTINGS, REFERENCE)}
    defaults = Settings()
    assert told == {
        f"{table}.{key}": (
            _written(getattr(getattr(defaults, table), key)),
            "restart" if unchangeable([f"{table}.{key}"]) else "reload",
        )
        for table, names in keys().items()
        for key in names
    }
    assert [row for row in _table(_SETTINGS, REFERENCE) if not row[3].endswith(".")] == []


def _written(value: object) -> str:
    """Return a default as the example file has it, without quotes; empty where there is none."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    match value:
        case None:
            return ""
        case timedelta():
            return compact(value)
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case ():
            return "[]"
        case _:
            return str(value)


def test_the_table_of_exit_codes_is_the_catalogue_and_that_all_there_are() -> None:
    told = {int(code): text for code, text in _table("| code | meaning |", REFERENCE)}
    raised = {e.exit_code for e in vars(errors).values() if _is_error(e)}
    assert told == EXIT_CODES
    assert set(EXIT_CODES) == raised | {0, errors.INTERRUPTED}


def _is_error(value: object) -> TypeGuard[type[errors.VoicekeeperError]]:
    return isinstance(value, type) and issubclass(value, errors.VoicekeeperError)


def test_the_table_of_the_codes_of_status_is_what_it_exits_with() -> None:
    told = {
        int(code): text.partition(":")[0]
        for code, text in _table("| code of `status` |", REFERENCE)
    }
    assert told == {severity.value: severity.name.lower() for severity in Severity}


def test_the_commands_with_exit_codes_of_their_own_are_commands() -> None:
    names = re.findall(
        r"`([a-z]+)[^`]*`", " ".join(row[0] for row in _table("| command | ends", REFERENCE))
    )
    assert set(names) <= set(program.list_commands(click.Context(program)))


@pytest.mark.parametrize(
    ("header", "section"),
    [("| variable | meaning |", "ENVIRONMENT"), ("| file | what it is |", "FILES")],
)
def test_the_reference_and_the_manual_page_tell_the_same(header: str, section: str) -> None:
    told = {row[0].replace("`", ""): row[1].replace("`", "") for row in _table(header, REFERENCE)}
    shown = manual.page().partition(f".SH {section}\n")[2].partition("\n.SH")[0]
    entries = re.findall(
        r"^\.TP\n\.B (.*)\n((?:[^.].*\n?)+)", shown.replace("\\-", "-"), re.MULTILINE
    )
    assert told == {term: " ".join(words.split()) for term, words in entries}


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_the_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^):]+)\)", text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    """Return the names that a heading can be reached by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_the_readme_leads_to_every_page() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages - set(re.findall(r"\]\(([^)#:]+)", README)) == set()


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_every_command_in_the_docs_is_one_with_these_options(page: Path) -> None:
    """Whatever a block of the docs says to type can be typed."""
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    typed = re.findall(r"(?<![/\w.-])voicekeeper ((?:[^\n\\]|\\\n)*)", "".join(blocks))
    typed += re.findall(r"`voicekeeper ([^`\n]+)`", page.read_text())
    for line in typed:
        words = re.split(r"[#|;>]", line.replace("\\\n", " "))[0].split()
        while words and words[0].startswith("--"):
            del words[:2]  # an option of the program and its value
        if not words or not re.fullmatch(r"[a-z]+", words[0]) or words[0] == "daemon":
            continue
        command = program.get_command(click.Context(program), words[0])

        assert command is not None, line
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words[1])
            assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known | {"--help"}, line


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_root_is_told_to_lend_its_terminal_to_nobody(page: Path) -> None:
    """Whoever is the user that root becomes could type there (``TIOCSTI``)."""
    for line in re.findall(r"`(?:runuser|su|sudo) [^`]*`", page.read_text()):
        assert line.startswith("`runuser --pty -u "), line


def test_the_changelog_knows_the_version() -> None:
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()
