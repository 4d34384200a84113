"""The demonstration: what it shows, how it judges, and that it leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from voicekeeper.config import load
from voicekeeper.demo import broken, cell, environment, outcome, run
from voicekeeper.errors import VoicekeeperError
from voicekeeper.sandbox import Books, VoiceBook

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WINDOW = 20 * SECOND


def book(voice_id: str, made_by: str, *, used: int = 5, uses: int = 9) -> VoiceBook:
    """Return the page of a voice that was last used so many seconds ago."""
    last = NOW - used * SECOND
    gone_at = last + WINDOW if used >= 20 else None
    alive = gone_at is None
    return VoiceBook(voice_id, "cosyvoice-3-flash", "OK", alive, uses, made_by, last, gone_at)


NARRATOR = book("voice-narrator", "import")
HOST = book("x-h-1", "clone")
GUIDE = book("x-g-1", "design")
STRAY = book("voice-stray", "import", used=60, uses=0)


def books(*voices: VoiceBook, design: int = 1) -> Books:
    named = {voice.voice_id: voice for voice in voices}
    return Books(named, 27, clone=1, design=design, polls=50, cost_micros=33_620, refused={})


AS_PROMISED = books(NARRATOR, HOST, GUIDE, STRAY)


@pytest.mark.parametrize(
    ("voice", "shown"),
    [
        (None, "-"),
        (HOST, "OK 15 s"),
        (HOST._replace(last_used_at=NOW - 21 * SECOND), "OK 0 s"),
        (STRAY, "deleted"),
    ],
)
def test_a_cell_says_what_the_books_say(voice: VoiceBook | None, shown: str) -> None:
    assert cell(voice, WINDOW, NOW) == shown


def test_the_outcome_names_each_voice_and_the_cost() -> None:
    assert list(broken(AS_PROMISED)) == []
    lines = "\n".join(outcome(AS_PROMISED)).split("\n")
    assert lines[2:6] == [
        "narrator  imported                 9  alive",
        "host      cloned                   9  alive",
        "guide     designed                 9  alive",
        "stray     not registered           -  deleted, 20 s after its last use",
    ]
    assert lines[-1] == (
        "27 keepalives, 2 enrollments and 50 polls; at the gateway's prices $0.03362."
    )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (books(NARRATOR, HOST, STRAY), "guide: never created, used 0 times"),
        (
            books(NARRATOR, book("x-h-1", "clone", used=25), GUIDE, STRAY),
            "host: deleted, 20 s after its last use, used 9 times",
        ),
        (books(NARRATOR._replace(uses=0), HOST, GUIDE, STRAY), "narrator: alive, used 0 times"),
        (
            books(NARRATOR, HOST, GUIDE, STRAY._replace(alive=True, deleted_at=None)),
            "stray, which is not kept: alive",
        ),
        (
            books(NARRATOR, HOST, GUIDE, STRAY, design=2),
            "the design was requested, and paid for, 2 times",
        ),
    ],
)
def test_a_broken_promise_is_named(wrong: Books, sentence: str) -> None:
    assert list(broken(wrong)) == [sentence]


def test_a_broken_promise_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicekeeper.demo._Run.play", lambda _: books(NARRATOR, HOST, STRAY))
    lines: list[str] = []
    with pytest.raises(VoicekeeperError, match=r"^not as promised: guide: never created"):
        run(lines.append, window=6 * SECOND)
    assert "As promised" not in "".join(lines)


def test_nothing_that_is_meant_for_voicekeeper_reaches_its_processes() -> None:
    hosts = {
        "VOICEKEEPER_CONFIG": "x",
        "VOICEKEEPER_API_KEY": "x",
        "voicekeeper_log__level": "x",
        "CREDENTIALS_DIRECTORY": "x",
        "NOTIFY_SOCKET": "x",
        "WATCHDOG_USEC": "1",
    }
    given = {"PATH": "/bin", "PYTHONPATH": "/else"}
    base = "http://127.0.0.1:1/api/v1"
    seen, alone = environment(given | hosts, base, WINDOW), environment(given, base, WINDOW)
    assert seen == alone
    assert seen["VOICEKEEPER_API_KEY"] != "x"
    ours = {name for name in seen if name.startswith("VOICEKEEPER_")}
    assert seen.keys() - ours == {"PATH", "PYTHONPATH"}
    assert seen["PYTHONPATH"].endswith(os.pathsep + "/else")


@pytest.mark.parametrize("seconds", [6, 20])
def test_the_settings_are_valid_and_in_proportion_to_the_window(seconds: int) -> None:
    loaded = load(None, environment({}, "http://127.0.0.1:1/api/v1", seconds * SECOND))
    assert loaded.keepalive.window == seconds * SECOND
    assert loaded.keepalive.interval == seconds * SECOND * 0.3


def test_three_voices_live_and_the_fourth_dies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("VOICEKEEPER_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("VOICEKEEPER_KEEPALIVE__INTERVAL", "never")
    before = signal.getsignal(signal.SIGINT)
    lines: list[str] = []

    run(lines.append, window=6 * SECOND)

    text = "\n".join(lines)
    ends = [line for line in text.splitlines() if "  alive" in line]
    assert [line.split()[0] for line in ends] == ["narrator", "host", "guide"]
    assert all(int(line.split()[2]) > 3 for line in ends)
    assert re.search(
        "^stray +not registered +-  deleted, 6 s after its last use$", text, re.MULTILINE
    )
    keepalives, cost = re.search(r"(\d+) keepalives, .* prices \$([\d.]+)\.", text).groups()  # type: ignore[union-attr]
    assert round(float(cost) * 1_000_000) == 32_000 + 60 * int(keepalives)
    assert "$ voicekeeper design guide" in text
    assert "DEPLOYING" in text
    assert "As promised" in text
    assert max(len(line) for line in text.splitlines()) <= 80
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
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
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
    assert err.startswith("voicekeeper: the daemon ended early, with exit code -9; its last")
    assert "daemon.ready" in err
    assert list(tmp_path.iterdir()) == []
    assert processes(tmp_path) == []
