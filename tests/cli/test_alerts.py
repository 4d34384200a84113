"""``voicekeeper alerts test``, on a real receiver."""

import sys
from pathlib import Path

import pytest

from tests.command import CommandLine
from tests.receiver import Receiver


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "voicekeeper.db")


def urls(*addresses: str) -> dict[str, str]:
    return {"VOICEKEEPER_ALERTS__URLS": " ".join(addresses)}


def test_a_trial_message_goes_to_each_address(cli: CommandLine, receiver: Receiver) -> None:
    both = urls(receiver.url("first-0123"), receiver.url("second-0123"))
    ended = cli("alerts", "test", environ=both)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "ok       alerts.urls[0] (json) took the message; see that it is there",
        "ok       alerts.urls[1] (json) took the message; see that it is there",
    ]
    assert sorted(told.path for told in receiver.messages) == ["/first-0123", "/second-0123"]
    assert {told.type for told in receiver.messages} == {"info"}
    assert "a trial message" in receiver.messages[0].title
    assert not cli.path.exists()


def test_a_line_tells_of_each_address_that_fails(cli: CommandLine, receiver: Receiver) -> None:
    both = urls("json://127.0.0.1:1/secret-0123", receiver.url())
    ended = cli("alerts", "test", environ=both)
    assert (ended.code, ended.err) == (1, "")
    failed, well = ended.out.splitlines()
    assert failed.startswith("failed   alerts.urls[0] (json) did not take it: ")
    assert well.startswith("ok       alerts.urls[1] (json)")
    assert "secret-0123" not in ended.out
    receiver.status = 404
    ended = cli("alerts", "test", environ=urls(receiver.url()))
    assert ended.code == 1
    assert "404" in ended.out


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "alerts.urls: names no address, so nobody is told anything"),
        (urls("foo://secret-0123"), "alerts.urls[0] (foo): apprise does not know"),
    ],
)
def test_settings_that_lead_nowhere_are_refused(
    cli: CommandLine, environ: dict[str, str], told: str
) -> None:
    ended = cli("alerts", "test", environ=environ)
    assert ended.code == 78
    assert told in ended.err
    assert "secret" not in ended.err


def test_without_apprise_it_says_what_to_install(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    ended = cli("alerts", "test", environ=urls("json://localhost"))
    assert ended.code == 78
    assert "alerts.urls[0] (json): apprise, which sends the messages, is missing" in ended.err
    assert ended.err.endswith(f"{sys.executable} -P -m pip install 'apprise>=2.2,<3'\n")
