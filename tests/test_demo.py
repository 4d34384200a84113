"""The demonstration: what it shows, how it judges, and that it leaves nothing behind."""

import io
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from voicekeeper.bar import bar
from voicekeeper.config import load
from voicekeeper.demo import Demo, present
from voicekeeper.demo.cast import CAST, Row, rows
from voicekeeper.demo.happening import Happening, command, logged
from voicekeeper.demo.installation import environment, settings
from voicekeeper.demo.play import Scene
from voicekeeper.demo.screen import PlainLines, frame, outcome
from voicekeeper.demo.verdict import judge
from voicekeeper.errors import VoicekeeperError
from voicekeeper.sandbox import Books, VoiceBook

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WINDOW = 20 * SECOND


def book(voice_id: str, made_by: str, *, used: int = 5, uses: int = 9) -> VoiceBook:
    """Return the page of a voice that was last used so many seconds ago."""
    last = NOW - used * SECOND
    gone_at = last + WINDOW if used >= 20 else None
    return VoiceBook(
        voice_id=voice_id,
        model="cosyvoice-3-flash",
        status="OK",
        alive=gone_at is None,
        uses=uses,
        made_by=made_by,
        last_used_at=last,
        deleted_at=gone_at,
    )


NARRATOR = book("voice-of-a-narrator", "import")
HOST = book("id-h", "clone")
GUIDE = book("id-g", "design")
STRAY = book("voice-that-nobody-keeps", "import", used=60, uses=0)


def books(*voices: VoiceBook, clone: int = 1, design: int = 1) -> Books:
    return Books(
        voices={voice.voice_id: voice for voice in voices},
        speech=27,
        clone=clone,
        design=design,
        polls=50,
        cost_micros=33_620,
        refused={},
    )


AS_PROMISED = books(NARRATOR, HOST, GUIDE, STRAY)


def printed(renderable: object, *, width: int = 80, height: int = 24, **options: object) -> str:
    """Return what a terminal would get."""
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, highlight=False, **options)  # type: ignore[arg-type]
    console.print(renderable)
    return out.getvalue()


def scene(**fields: object) -> Scene:
    made = Scene(
        rows=rows(AS_PROMISED, now=NOW, window=WINDOW),
        happenings=tuple(Happening(n, "info", f"keepalive.succeeded n{n}") for n in range(30)),
        at=30,
        remains=25 * SECOND,
        window=WINDOW,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("voice", "place", "row"),
    [
        (None, 1, Row("host", True, "-", None, 0.0, 0)),  # noqa: FBT003
        (HOST, 1, Row("host", True, "OK", 15 * SECOND, 0.75, 9)),  # noqa: FBT003
        (
            GUIDE._replace(status="DEPLOYING", uses=0),
            2,
            Row("guide", True, "DEPLOYING", 15 * SECOND, 0.75, 0),  # noqa: FBT003
        ),
        (
            STRAY._replace(alive=True, deleted_at=None, last_used_at=NOW),
            3,
            Row("stray", False, "OK", WINDOW, 1.0, 0),  # noqa: FBT003
        ),
        (STRAY, 3, Row("stray", False, "deleted", None, 0.0, 0)),  # noqa: FBT003
    ],
)
def test_a_row_says_what_the_books_say(voice: VoiceBook | None, place: int, row: Row) -> None:
    known = books() if voice is None else books(voice)
    assert rows(known, now=NOW, window=WINDOW)[place] == row


def test_the_verdict_counts_the_calls_and_passes_when_all_came_as_promised() -> None:
    verdict = judge(AS_PROMISED)
    verdict.check()
    assert [fate.end for fate in verdict.fates] == [
        *["alive"] * 3,
        "deleted, 20 s after its last use",
    ]
    assert (verdict.keepalives, verdict.enrollments, verdict.polls) == (27, 2, 50)
    assert verdict.cost_micros == 33_620


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (books(NARRATOR, HOST, STRAY), "guide was never made"),
        (
            books(NARRATOR, book("id-h", "clone", used=25), GUIDE, STRAY),
            "host was to be kept and was deleted",
        ),
        (
            books(NARRATOR._replace(uses=0), HOST, GUIDE, STRAY),
            "narrator is OK and was used 0 times",
        ),
        (
            books(NARRATOR, HOST, GUIDE._replace(status="DEPLOYING", uses=1), STRAY),
            "guide is DEPLOYING and was used once",
        ),
        (
            books(NARRATOR, HOST, GUIDE, STRAY._replace(alive=True, deleted_at=None)),
            "stray, which nobody keeps, was not deleted",
        ),
        (
            books(NARRATOR, HOST, GUIDE, STRAY, design=2),
            "the design was requested, and paid for, 2 times",
        ),
    ],
)
def test_a_broken_promise_is_told_and_fails(wrong: Books, sentence: str) -> None:
    verdict = judge(wrong)
    assert verdict.broken == (sentence,)
    with pytest.raises(VoicekeeperError, match=f"^not as promised: {sentence}$"):
        verdict.check()
    assert "As promised" not in printed(outcome(verdict))


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        (
            '{"level": "info", "event": "keepalive.submitted", "name": "host", "voice_id": "v"}\n',
            "info",
            "keepalive.submitted   host",
        ),
        (
            '{"event": "voice.status_changed", "name": "guide", "from": "NEW", "to": "DEPLOYING"}',
            "info",
            "voice.status_changed  guide    NEW to DEPLOYING",
        ),
        (
            '{"level": "warning", "event": "keepalive.failed", "name": "host", "error": "500"}',
            "warning",
            "keepalive.failed      host     500",
        ),
        ('{"level": "critical", "event": "pass.failed"}', "error", "pass.failed"),
        ("voicekeeper: 1 problem in it:\n", "error", "voicekeeper: 1 problem in it:"),
        ("7\n", "error", "7"),
    ],
)
def test_a_line_of_the_log_is_told_in_short(line: str, kind: str, text: str) -> None:
    told = logged(line, 3.0)
    assert (told.kind, told.text) == (kind, text)


@pytest.mark.parametrize("seconds", [6, 20])
def test_the_settings_are_valid_and_in_proportion_to_the_window(
    seconds: int, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(settings("http://127.0.0.1:1/api/v1", seconds * SECOND), "utf-8")
    loaded = load(file, {})
    assert loaded.keepalive.window == seconds * SECOND
    assert loaded.keepalive.interval == seconds * SECOND * 0.3
    assert tomllib.loads(file.read_text("utf-8"))["upstream"]["api_key_file"] == "key"


def test_nothing_that_is_meant_for_voicekeeper_reaches_its_processes() -> None:
    seen = environment(
        {
            "PATH": "/bin",
            "PYTHONPATH": "/else",
            "VOICEKEEPER_CONFIG": "x",
            "VOICEKEEPER_API_KEY": "x",
            "voicekeeper_log__level": "x",
            "CREDENTIALS_DIRECTORY": "x",
            "NOTIFY_SOCKET": "x",
            "WATCHDOG_USEC": "1",
        }
    )
    assert seen.keys() == {"PATH", "PYTHONPATH"}
    assert seen["PYTHONPATH"].endswith(os.pathsep + "/else")


@pytest.mark.parametrize(
    ("height", "log_lines"), [(24, 8), (100, 8), (18, 3), (10, 1)], ids="{}".format
)
def test_the_display_fits_the_terminal(height: int, log_lines: int) -> None:
    console = Console(width=80, height=height, file=io.StringIO())
    text = printed(frame(scene(), console), height=height, force_terminal=True, no_color=True)
    lines = text.splitlines()
    assert sum("keepalive.succeeded" in line for line in lines) == log_lines
    assert max(len(line) for line in _bare(text)) <= 80
    if height >= 18:
        assert len(lines) + 4 <= height, "the introduction and the prompt have room"


def _bare(text: str) -> list[str]:
    """Return the lines without what only sets bold and dim."""
    bare = text
    for code in ("0", "1", "2", "31", "32", "33", "36"):
        bare = bare.replace(f"\x1b[{code}m", "")
    assert "\x1b" not in bare
    return bare.splitlines()


def test_the_display_tells_which_window_it_is_and_who_is_gone() -> None:
    text = printed(frame(scene(), Console(width=80, height=24, file=io.StringIO())))
    assert "Window 2 of 3, 25 s to go" in text
    assert "deleted    nobody used it for 20 s" in text
    assert "Window 3 of 3, 0 s to go" in printed(frame(scene(remains=0 * SECOND), Console()))
    assert "being registered" in printed(frame(scene(remains=None), Console()))


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(width=80, height=24, file=io.StringIO())
    text = printed(frame(scene(), console), force_terminal=True)
    assert "\x1b[3" not in text
    assert "narrator" in text


def test_a_narrow_terminal_without_unicode_is_served_too() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    console = Console(file=out, width=40, height=24, force_terminal=True, highlight=False)
    console.print(frame(scene(happenings=(logged("caf\u00e9 \u2026", 1.0),)), console))
    out.flush()
    assert b"####" in raw.getvalue()
    assert b"caf\\xe9" in raw.getvalue()


@pytest.mark.parametrize(
    ("share", "text"),
    [(-1.0, ".........."), (0.0, ".........."), (0.5, "#####....."), (2.0, "##########")],
)
def test_a_bar_never_leaves_its_cells(share: float, text: str) -> None:
    assert bar(share, plain=True).plain == text


def test_plain_lines_come_on_a_change_and_each_quarter_of_the_window() -> None:
    told: list[str] = []
    tell = PlainLines(told.append)
    tell(scene(at=0.0, happenings=(), rows=rows(books(), now=NOW, window=WINDOW)))
    assert told == []
    given = (command(("pause", "host"), 1.0), Happening(1.0, "info", "not told"))
    tell(scene(at=1.0, happenings=given))
    tell(scene(at=2.0, happenings=given))
    tell(scene(at=6.0, happenings=(*given, Happening(6.0, "error", "pass.failed"))))
    tell(scene(at=7.0, happenings=(), rows=rows(books(HOST), now=NOW, window=WINDOW)))
    all_four = "narrator OK 15 s, host OK 15 s, guide OK 15 s, stray deleted"
    assert told == [
        "  1 s  $ voicekeeper pause host",
        f"  1 s  {all_four}",
        "  6 s  pass.failed",
        f"  6 s  {all_four}",
        "  7 s  narrator not made, host OK 15 s, guide not made, stray not made",
    ]


def test_the_commands_it_gives_fit_a_line() -> None:
    given = [command(part.command, 0.0).text for part in CAST if part.is_kept]
    assert max(len("  0 s  " + text) for text in given) <= 80


def test_three_voices_live_and_the_fourth_dies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("VOICEKEEPER_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("VOICEKEEPER_KEEPALIVE__INTERVAL", "never")
    before = signal.getsignal(signal.SIGINT)
    out = io.StringIO()

    verdict = present(Demo(window=6 * SECOND), Console(file=out, width=80, highlight=False))

    told = out.getvalue()
    verdict.check()
    assert [fate.is_alive for fate in verdict.fates] == [True, True, True, False]
    assert [fate.uses > 3 for fate in verdict.fates] == [True, True, True, False]
    assert verdict.cost_micros == 32_000 + 60 * verdict.keepalives
    assert "$ voicekeeper design guide" in told
    assert "guide DEPLOYING" in told
    assert "stray deleted" in told
    assert "As promised" in told
    assert max(len(line) for line in told.splitlines()) <= 80
    assert list(tmp_path.iterdir()) == []
    assert processes(tmp_path) == []
    assert signal.getsignal(signal.SIGINT) is before


def processes(directory: Path) -> list[tuple[int, str]]:
    """Return the id and the last argument of each process that works in a directory."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if str((each / "cwd").readlink()).startswith(str(directory)):
                arguments = (each / "cmdline").read_text().rstrip("\0").split("\0")
                found.append((int(each.name), arguments[-1]))
        except OSError:
            continue  # it ended, or is another user's
    return found


def _heed_signals() -> None:
    """Undo what a shell does to a suite that it runs in the background: ignore Ctrl-C for it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def demonstration(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command off a terminal, and wait until it registers the first voice."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "voicekeeper", "demo"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_signals,  # noqa: PLW1509 - this process has but one thread
    ) as process:
        try:
            assert process.stdout is not None
            while (line := process.stdout.readline()) and "$ voicekeeper add" not in line:
                pass
            assert line
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_signal_ends_it_and_nothing_stays_behind(
    number: signal.Signals, exit_code: int, tmp_path: Path
) -> None:
    with demonstration(tmp_path) as process:
        assert "run" in [last for _, last in processes(tmp_path)]
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (exit_code, "")
    assert list(tmp_path.iterdir()) == []
    assert processes(tmp_path) == []


def test_a_daemon_that_dies_ends_it_with_its_last_words(tmp_path: Path) -> None:
    with demonstration(tmp_path) as process:
        daemon = next(pid for pid, last in processes(tmp_path) if last == "run")
        os.kill(daemon, signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("voicekeeper: the daemon ended early, with exit code -9; it said:\n")
    assert "daemon.ready" in err
    assert list(tmp_path.iterdir()) == []
    assert processes(tmp_path) == []
