"""Distorted import files and settings, through the command line: one sentence, never a traceback.

Import lines start from what ``export`` writes, settings from ``config.example.toml``. The full
numbers::

    pytest -m campaign -n 0 tests/cli/test_fuzz_files.py
"""

import json
import re
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.command import CommandLine, Ended
from tests.distortion import Members, charsets, distorted, mangled, opened, written
from tests.support import DAY, NOW, imported, wanted
from voicekeeper.config import load, policy_of
from voicekeeper.core.models import Origin
from voicekeeper.errors import ConfigError

CAMPAIGN = [pytest.mark.campaign, pytest.mark.timeout(3600)]
EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
LONGEST_LINE = 500

_SELDOM = st.sampled_from([False] * 4 + [True])
_OFTEN_ONE = st.sampled_from([0, 0, 1, 1, 1, 2])


@pytest.fixture(scope="module")
def cli() -> Iterator[CommandLine]:
    with tempfile.TemporaryDirectory() as directory:
        yield CommandLine(Path(directory) / "voicekeeper.db").ready(imported("anna"))


def refusal(ended: Ended) -> list[str]:
    """Return the lines of a refusal: a sentence, and what it lists, fit for any terminal."""
    assert ended.out == ""
    assert "Traceback" not in ended.err
    lines = ended.err.rstrip("\n").split("\n")
    assert lines[0].startswith("voicekeeper: ")
    assert all(line.startswith("  ") for line in lines[1:])
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) <= LONGEST_LINE
    return lines


# Imports


def _exported() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory:
        cli = CommandLine(Path(directory) / "voicekeeper.db").ready(
            imported("anna"),
            imported("bert", last_used_at=NOW - DAY),
            imported("carla", model="cosyvoice-3-plus"),
            wanted("dora"),
            wanted("emil", Origin.DESIGN),
        )
        cli.change("carla", paused=True)
        for name in ("dora", "emil"):
            cli.change(name, voice_id=f"id-{name}", status="OK")
        return [json.loads(line) for line in cli("export").out.splitlines()]


EXPORTED = _exported()


@st.composite
def imports(draw: st.DrawFn) -> bytes:
    """Return an exported file of one to four lines, distorted."""
    lines = []
    some = st.lists(st.sampled_from(EXPORTED), min_size=1, max_size=4, unique_by=str)
    for record in draw(some):
        tree = opened(record)
        for _ in range(draw(_OFTEN_ONE)):
            tree = draw(distorted(tree))
        line = draw(charsets(written(tree)))
        lines.append(draw(mangled(line)) if draw(_SELDOM) else line)
    content = b"\n".join(lines)
    return draw(mangled(content)) if draw(_SELDOM) else content


@pytest.mark.parametrize("examples", [100, pytest.param(10_000, marks=CAMPAIGN)])
def test_a_distorted_import_is_taken_whole_or_refused_by_line(
    cli: CommandLine, tmp_path: Path, examples: int
) -> None:
    other = CommandLine(tmp_path / "other.db").ready()
    registry, empty = cli.path.read_bytes(), other.path.read_bytes()
    reached: Counter[int] = Counter()

    @settings(max_examples=examples)
    @given(imports())
    @example(b'{"voice_id": "1", "name": "\\u0000"}')
    @example(b'{"voice_id": "1", "name": "a", "paused": NaN}')
    @example(b'{"voice_id": "1", "name": "a", "last_used_at": "0001-01-01T00:00:00+14:00"}')
    @example(b"9" * 5000)
    @example(b'{"voice_id": "' + b"A" * 100_000 + b'", "name": "x"}')
    @example(b'{"voice_id": "\\ud800", "name": "\\udfff"}')
    @example(b'{"a":' * 100_000)
    def hold(content: bytes) -> None:
        ended = cli("import", "-", stdin=content)
        reached[ended.code] += 1
        count = len(content.split(b"\n"))
        if ended.code == 0:
            exported = cli("export")
            assert exported.code == 0
            assert other("import", "-", stdin=exported.out.encode()).code == 0
            cli.path.write_bytes(registry)
            other.path.write_bytes(empty)
        else:
            first, *told = refusal(ended)
            whole = ended.code == 2 and not told
            assert whole or ended.code == 1
            why = ": " if whole else ", because of "
            assert first.startswith(f"voicekeeper: nothing was imported{why}")
            if told[20:]:
                assert re.fullmatch(r"  and \d+ more", told.pop())
            numbers = [int(re.match(r"  line (\d+): .", line)[1]) for line in told]  # type: ignore[index]
            assert numbers == sorted(set(numbers))
            assert set(numbers) <= set(range(1, count + 1))
            assert cli.path.read_bytes() == registry

    hold()
    print(dict(reached))  # noqa: T201 - the campaign's own account
    assert examples < 1_000 or set(reached) == {0, 1, 2}


# Settings


def _toml(tree: object) -> str:
    """Return settings as TOML, broken as they may be."""
    if not isinstance(tree, Members):
        return written(tree)
    pairs, tables = [], []
    for name, value in tree:
        key = _key(name)
        if isinstance(value, Members):
            tables += [f"[{key}]", *(f"{_key(k)} = {_inline(v)}" for k, v in value)]
        else:
            pairs.append(f"{key} = {_inline(value)}")
    return "\n".join([*pairs, *tables, ""])


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _inline(value: object) -> str:
    if isinstance(value, Members):
        return "{" + ", ".join(f"{_key(name)} = {_inline(inner)}" for name, inner in value) + "}"
    return written(value)


@st.composite
def configurations(draw: st.DrawFn) -> bytes:
    """Return the example of all settings, distorted."""
    if draw(_SELDOM):
        content = EXAMPLE.read_bytes()
    else:
        tree = opened(tomllib.loads(EXAMPLE.read_text("utf-8")))
        for _ in range(draw(_OFTEN_ONE)):
            tree = draw(distorted(tree))
        content = draw(charsets(_toml(tree)))
    return draw(mangled(content)) if draw(_SELDOM) else content


@pytest.mark.parametrize("examples", [100, pytest.param(10_000, marks=CAMPAIGN)])
def test_a_distorted_configuration_is_taken_or_refused_by_path(
    cli: CommandLine, tmp_path: Path, examples: int
) -> None:
    file = tmp_path / "config.toml"
    reached: Counter[int] = Counter()

    @settings(max_examples=examples)
    @given(configurations())
    @example(b"a = " + b"[" * 100_000)
    @example(b'"\\u001b[31m\\n" = 1')
    @example(b"[keepalive]\nwindow = 1" + b"0" * 5_000)
    def hold(content: bytes) -> None:
        file.write_bytes(content)
        try:
            policy_of(load(file, {}))
        except ConfigError as error:
            assert error.problems  # noqa: PT017 - what it holds is part of the matter
        ended = cli("--config", str(file), "list")
        reached[ended.code] += 1
        if ended.code == 0:
            assert ended.out.startswith("anna")
        else:
            assert ended.code == 78
            first, *problems = refusal(ended)
            assert re.search(rf"{len(problems)} problems? in {file}:$", first)

    hold()
    print(dict(reached))  # noqa: T201 - the campaign's own account
    assert examples < 1_000 or set(reached) == {0, 78}


@pytest.mark.parametrize(
    "line",
    [
        b'{"voice_id": "' + b"A" * 100_000 + b'", "name": "x"}',
        b'{"voice_id": "\\ud800", "name": "\\udfff"}',
        b'{"a":' * 100_000,
    ],
    ids=["huge", "surrogates", "deep"],
)
def test_the_process_refuses_a_broken_line_in_a_sentence(cli: CommandLine, line: bytes) -> None:
    ended = cli.process("import", "-", stdin=line)
    assert ended.code == 1
    assert len(refusal(ended)) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"a = " + b"[" * 100_000,
        b'"\\u001b[31m\\n" = 1',
        b"[keepalive]\nwindow = 1" + b"0" * 5_000,
    ],
    ids=["deep", "escapes", "huge"],
)
def test_the_process_refuses_broken_settings_in_a_sentence(
    cli: CommandLine, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    ended = cli.process("--config", str(file), "list")
    assert ended.code == 78
    assert len(refusal(ended)) == 2
