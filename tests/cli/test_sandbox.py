"""The command ``voicekeeper sandbox``, as a person and a script meet it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from click.testing import CliRunner

from voicekeeper.cli.program import program
from voicekeeper.errors import InvalidInput


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command on a free port; gives the process and the base URL it printed."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "voicekeeper", "sandbox", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_ends_clean(number: signal.Signals) -> None:
    with running("--voice", "v1", "--balance", "5.00", "--speech-time", "1s") as (
        process,
        base_url,
    ):
        balance = httpx.get(
            f"{base_url}/apikeys/current-balance",
            headers={"Authorization": "Bearer any"},
            trust_env=False,
        )
        books = httpx.get(base_url.removesuffix("/api/v1") + "/books", trust_env=False).json()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert balance.json()["data"] == 5.0
    assert books["voices"]["v1"]["alive"] is True
    assert out == ""
    assert f"export VOICEKEEPER_UPSTREAM__BASE_URL={base_url}\n" in err
    assert "export VOICEKEEPER_API_KEY=anything\n" in err
    assert "Traceback" not in err


def test_a_key_is_asked_for_but_never_printed() -> None:
    with running("--key", "made-up-key") as (process, base_url):
        url = f"{base_url}/apikeys/current-balance"
        wrong = httpx.get(url, headers={"Authorization": "Bearer other"}, trust_env=False)
        right = httpx.get(url, headers={"Authorization": "Bearer made-up-key"}, trust_env=False)
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert (wrong.status_code, right.status_code) == (401, 200)
    assert "made-up-key" not in err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--window", "soon"], "must be a duration"),
        (["--speech-time", "30s-5s"], "must begin with the shorter time"),
        (["--speech-time", "5s-"], "must be a duration"),
        (["--enrollment-time", "fast"], "must be a duration"),
        (["--balance", "lots"], "must be US dollars"),
        (["--balance", "inf"], "must be US dollars"),
        (["--balance", "-1"], "must be 0 or more"),
        (["--balance", "0.0000001"], "must be 0 or more, to six places"),
        (["--host", "0.0.0.0"], "must be an address of this machine"),  # noqa: S104
        (["--host", "example.com"], "must be an address of this machine"),
        (["--unknown-voice", "maybe"], "'maybe' is not one of"),
    ],
)
def test_an_option_that_cannot_be_used_is_a_usage_error(options: list[str], sentence: str) -> None:
    result = CliRunner().invoke(program, ["sandbox", *options])
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())


@pytest.mark.parametrize("options", [["--fault", "boom"], ["--voice", "v1", "--voice", "v1"]])
def test_a_fault_or_voice_that_cannot_be_used_is_invalid_input(options: list[str]) -> None:
    result = CliRunner().invoke(program, ["sandbox", "--port", "0", *options])
    assert isinstance(result.exception, InvalidInput)


def test_the_help_keeps_its_tables_and_fits_a_terminal() -> None:
    output = CliRunner().invoke(program, ["sandbox", "--help"], terminal_width=80).output
    assert "\n    lost                  done, and the connection breaks\n" in output
    assert max(len(line) for line in output.splitlines()) <= 80
