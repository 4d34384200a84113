"""``voicekeeper check`` and ``alerts test``: whether the set-up is right, on real servers."""

import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.command import CommandLine, Ended
from tests.receiver import Receiver
from tests.support import DAY, MINUTE, NOW, FakeClock, imported
from tests.web_support import free_port, lead_here
from voicekeeper.config import DEFAULT_PATH
from voicekeeper.sandbox import Gateway, SandboxServer
from voicekeeper.store.backup import DailyCopies
from voicekeeper.store.sqlite import WAL_IS_SAFE

KEY = "made-up-key"
NOWHERE = "http://127.0.0.1:9/api/v1"
SUBJECTS = [
    *("settings", "key", "gateway", "clock", "database", "backup", "daemon"),
    *("alerts", "heartbeat", "webhook"),
]


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "voicekeeper.db").ready(imported("anna", last_used_at=NOW - DAY))


def check(cli: CommandLine, base_url: str, **environ: str) -> Ended:
    """Check with a key, against a gateway; the key is nowhere to be read."""
    base = {"VOICEKEEPER_UPSTREAM__BASE_URL": base_url, "VOICEKEEPER_API_KEY": KEY}
    ended = cli("check", environ=base | environ)
    assert KEY not in ended.out + ended.err
    return ended


def verdicts(ended: Ended) -> dict[str, str]:
    """Return the verdict of each subject."""
    lines = [line.split() for line in ended.out.splitlines() if not line.startswith(" ")]
    return {subject: verdict for verdict, subject, *_ in lines}


def found(ended: Ended, subject: str) -> str:
    """Return the finding about a subject."""
    return next(line[19:] for line in ended.out.splitlines() if line.split()[1] == subject)


def test_wrong_settings_are_told_and_nothing_else_is_checked(cli: CommandLine) -> None:
    environ = {"VOICEKEEPER_DAEMON__TICK": "often", "VOICEKEEPER_LOG__LEVEL": "loud"}
    ended = cli("check", environ=environ)
    assert (ended.code, ended.out) == (78, "")
    assert "daemon.tick" in ended.err
    assert "log.level" in ended.err


def test_a_right_set_up_is_ok_and_costs_nothing(cli: CommandLine) -> None:
    cli.passed()
    DailyCopies(cli.path).make(NOW)
    with SandboxServer(Gateway(key=KEY), clock=cli.clock) as server:
        ended = check(cli, server.base_url)
        assert server.books().cost_micros == 0
    assert (ended.code, ended.err) == (0, "")
    assert verdicts(ended) == dict.fromkeys(SUBJECTS, "ok")
    assert ("WAL" if WAL_IS_SAFE else "rollback journal") in found(ended, "database")


def test_it_names_the_settings_that_it_read(cli: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    config.write_text(f'[database]\nurl = "sqlite:///{cli.path}"\n', "utf-8")
    over = "$VOICEKEEPER_DATABASE__URL"
    assert found(cli("--config", str(config), "check"), "settings") == (
        f"{config}, and over it {over}; a voice is used every 3d of its window of 7d"
    )
    more = {"VOICEKEEPER_DAEMON__TICK": "9s", "VOICEKEEPER_RETRY__CAP": "2h"}
    more |= {"VOICEKEEPER_CONFIG": ""}
    first = "defaults and " if not DEFAULT_PATH.exists() else f"{DEFAULT_PATH}, and over it "
    told = found(cli("check", environ=more), "settings")
    assert told.startswith(f"{first}{over}, $VOICEKEEPER_DAEMON__TICK and 1 more")


def test_it_names_the_place_of_the_key_and_never_the_key(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "apixo-api-key"
    file.write_text(f"{KEY}\n", "utf-8")
    for place, variables in {
        "$VOICEKEEPER_API_KEY": {},
        f"{file} ($CREDENTIALS_DIRECTORY)": {"CREDENTIALS_DIRECTORY": str(tmp_path)},
        f"{file} (upstream.api_key_file)": {"VOICEKEEPER_UPSTREAM__API_KEY_FILE": str(file)},
    }.items():
        assert found(check(cli, NOWHERE, **variables), "key") == f"read from {place}"


def test_without_a_key_the_rest_is_still_checked(cli: CommandLine) -> None:
    ended = cli("check")
    assert ended.code == 78
    warned = dict.fromkeys(("gateway", "clock", "backup", "daemon"), "warning")
    assert verdicts(ended) == dict.fromkeys(SUBJECTS, "ok") | warned | {"key": "failed"}
    assert "$VOICEKEEPER_API_KEY" in ended.out
    assert ended.out.count("there is no API key") == 1


def test_a_gateway_that_refuses_the_key_or_is_not_reached_fails(cli: CommandLine) -> None:
    with SandboxServer(Gateway(key="another-key")) as server:
        ended = check(cli, server.base_url)
    assert (ended.code, verdicts(ended)["gateway"]) == (77, "failed")
    assert "401" in found(ended, "gateway")
    ended = check(cli, f"http://127.0.0.1:{free_port()}/api/v1")
    assert ended.code == 1
    assert "connection refused; see that upstream.base_url is right" in found(ended, "gateway")


@pytest.mark.parametrize(
    ("micros", "verdict", "told"),
    [
        (655, "ok", "the balance is $0.000655, enough for 30 days of keepalives"),
        (654, "warning", "the balance is $0.000654, enough for 29 days of keepalives, so top it"),
        (0, "warning", "the balance is $0.00, enough for 0 days of keepalives, so top it up"),
    ],
)
def test_a_balance_for_less_than_thirty_days_is_a_warning(
    cli: CommandLine, micros: int, verdict: str, told: str
) -> None:
    with SandboxServer(Gateway(balance_micros=micros), clock=cli.clock) as server:
        ended = check(cli, server.base_url)
    assert (ended.code, verdicts(ended)["gateway"]) == (0, verdict)
    assert told in found(ended, "gateway")


@pytest.mark.parametrize("fault", ["404", "401", "drop", "garbage"])
def test_a_gateway_that_does_not_tell_its_balance_is_ok(cli: CommandLine, fault: str) -> None:
    with SandboxServer(Gateway(), clock=cli.clock, faults=[f"{fault}@balance"]) as server:
        ended = check(cli, server.base_url)
    assert (ended.code, verdicts(ended)["gateway"]) == (0, "ok")
    assert found(ended, "gateway").endswith("takes the key")


@pytest.mark.parametrize(
    ("ahead", "verdict", "told"),
    [
        (timedelta(seconds=50), "ok", "as the gateway's, to the minute"),
        (-5 * MINUTE, "warning", "5 min behind the gateway's"),
        (3 * DAY, "failed", "3 d ahead of the gateway's"),
    ],
)
def test_the_clock_is_compared_with_the_gateways(
    cli: CommandLine, ahead: timedelta, verdict: str, told: str
) -> None:
    with SandboxServer(Gateway(), clock=FakeClock(NOW)) as server:
        cli.clock.wrong_by = ahead
        ended = check(cli, server.base_url)
    assert (ended.code, verdicts(ended)["clock"]) == (int(verdict == "failed"), verdict)
    assert found(ended, "clock").startswith(told)


def test_it_warns_where_nothing_is_registered_yet(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "none.db")
    with SandboxServer(Gateway(balance_micros=5_000_000), clock=cli.clock) as server:
        ended = check(cli, server.base_url)
    warned = dict.fromkeys(("database", "backup", "daemon"), "warning")
    assert ended.code == 0
    assert verdicts(ended) == dict.fromkeys(SUBJECTS, "ok") | warned
    assert found(ended, "gateway").endswith("takes the key; the balance is $5.00")  # and no runway
    assert not cli.path.exists()


def test_every_page_of_the_database_is_read(cli: CommandLine) -> None:
    cli.ready(*(imported(f"voice-{number}") for number in range(200)))
    with cli.path.open("r+b") as file:
        file.seek(cli.path.stat().st_size - 4 * 4096)
        file.write(b"\xff" * 8192)
    ended = check(cli, NOWHERE)
    assert verdicts(ended)["database"] == "failed"
    assert "voicekeeper restore FILE" in found(ended, "database")


def test_it_warns_of_a_disk_with_little_room_and_of_copies_that_are_old(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    DailyCopies(cli.path).make(NOW - 2 * DAY)
    room = shutil.disk_usage(cli.path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room._replace(free=9_000_000))
    ended = cli("check")
    assert verdicts(ended)["database"] == verdicts(ended)["backup"] == "warning"
    assert "9 MB are free on its disk" in found(ended, "database")
    assert found(ended, "backup").startswith("the last daily copy is of 2026-04-29; ")


def test_no_message_is_sent_and_no_ping_that_is_not_true(cli: CommandLine) -> None:
    with Receiver() as receiver:
        environ = {
            "VOICEKEEPER_ALERTS__URLS": f"{receiver.url()} mailto://me:secret@example.com",
            "VOICEKEEPER_ALERTS__HEARTBEAT_URL": receiver.web_url(),
        }
        ended = cli("check", environ=environ)
        assert (receiver.messages, receiver.pings) == ([], ["/"])
    assert verdicts(ended)["alerts"] == verdicts(ended)["heartbeat"] == "ok"
    assert found(ended, "alerts").startswith("2 addresses are understood; ")
    assert found(ended, "heartbeat").startswith("the host of alerts.heartbeat_url answers; a ping")
    assert [word for word in ("hook-", "ping-", "secret") if word in ended.out + ended.err] == []


@pytest.mark.parametrize(
    ("status", "code", "told"), [(200, 0, "took a ping"), (404, 1, "the answer was 404")]
)
def test_a_ping_is_sent_where_voices_are_kept_in_time(
    cli: CommandLine, status: int, code: int, told: str
) -> None:
    cli.passed()
    with Receiver() as receiver, SandboxServer(Gateway(key=KEY), clock=cli.clock) as server:
        receiver.status = status
        beats = {"VOICEKEEPER_ALERTS__HEARTBEAT_URL": receiver.web_url()}
        ended = check(cli, server.base_url, **beats)
        assert receiver.came == 1
    assert ended.code == code
    assert told in found(ended, "heartbeat")
    assert "ping-" not in ended.out + ended.err


def test_the_variable_by_which_the_heartbeat_never_arrives_is_named(cli: CommandLine) -> None:
    environ = {
        "VOICEKEEPER_ALERTS__HEARTBEAT_URL": "https://hc-ping.com/0123456789-secret",
        "https_proxy": "",
        "all_proxy": "socks5://me:hidden@127.0.0.1:1",
        "no_proxy": "",
    }
    ended = cli("check", environ=environ)
    assert verdicts(ended)["heartbeat"] == "failed"
    assert "all_proxy: must be the address of an http or https proxy" in ended.out
    assert "hidden" not in ended.out + ended.err


@pytest.mark.parametrize("key", [KEY, ""])
def test_an_address_of_alerts_that_means_nothing_fails(cli: CommandLine, key: str) -> None:
    environ = {
        "VOICEKEEPER_ALERTS__URLS": "json://h/hook-0123456789 nosuch://secret-0123456789",
        "VOICEKEEPER_ALERTS__HEARTBEAT_URL": "https://xn--a/secret-0123456789",
    }
    ended = check(cli, NOWHERE, **environ, VOICEKEEPER_API_KEY=key)
    assert verdicts(ended)["alerts"] == verdicts(ended)["heartbeat"] == "failed"
    assert "alerts.urls[1] (nosuch): apprise does not know" in ended.out
    assert "alerts.heartbeat_url: " in ended.out
    assert "0123456789" not in ended.out + ended.err
    assert ended.code == (1 if key else 78)  # of what failed first


def test_without_apprise_it_names_what_to_install(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    ended = cli("check", environ={"VOICEKEEPER_ALERTS__URLS": "json://h/Token0123456789"})
    assert verdicts(ended)["alerts"] == "warning"
    assert found(ended, "alerts").endswith(f"{sys.executable} -P -m pip install 'apprise>=2.2,<3'")
    assert "Token" not in ended.out + ended.err
    ended = cli("alerts", "test", environ={"VOICEKEEPER_ALERTS__URLS": "json://localhost"})
    assert ended.code == 78
    assert "alerts.urls[0] (json): apprise, which sends the messages, is missing" in ended.err


@pytest.mark.parametrize(
    ("passed", "verdict", "told"),
    [
        (False, "warning", "no daemon runs; start it"),
        (True, "failed", "though a daemon made a pass"),
    ],
)
def test_a_webhook_that_nobody_receives_is_told(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, *, passed: bool, verdict: str, told: str
) -> None:
    lead_here(monkeypatch, "voices.example.com")
    if passed:
        cli.passed()
    environ = {
        "VOICEKEEPER_WEBHOOK__PUBLIC_URL": f"https://voices.example.com:{free_port()}/webhook",
        "VOICEKEEPER_WEBHOOK__LISTEN": f"127.0.0.1:{free_port()}",
    }
    ended = cli("check", environ=environ)
    assert verdicts(ended)["webhook"] == verdict
    assert told in found(ended, "webhook")
    assert "is not reached from this host (connection refused)" in found(ended, "webhook")


# alerts test


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
