"""The way to one address, on a real receiver: by apprise, in a thread that nothing waits for."""

import asyncio
import logging
import sys
import threading
from pathlib import Path

import pytest

from tests.receiver import Receiver
from voicekeeper.config import Settings
from voicekeeper.config.settings import Alerts
from voicekeeper.core.events import Level
from voicekeeper.core.messages import Text
from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import ConfigError, NotSent
from voicekeeper.notify import Sender, senders
from voicekeeper.notify import sender as module

TEXT = Text("error", "anna is lost", "Why: it is gone\n<b> & more")


def send(sender: Sender, text: Text = TEXT) -> None:
    asyncio.run(sender.send(text))


def only(*addresses: str) -> list[Sender]:
    return senders([SecretStr(address) for address in addresses])


@pytest.mark.parametrize(
    ("level", "kind"), [("info", "info"), ("warning", "warning"), ("error", "failure")]
)
def test_a_message_arrives_as_it_is(receiver: Receiver, level: Level, kind: str) -> None:
    send(only(receiver.url())[0], TEXT._replace(level=level))
    (told,) = receiver.messages
    assert (told.title, told.body, told.type) == (TEXT.title, TEXT.body, kind)
    assert told.path == "/hook-0123456789"


def test_what_the_service_says_is_told_without_a_secret(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 503
    (sender,) = only(receiver.url())
    with caplog.at_level(logging.DEBUG), pytest.raises(NotSent) as caught:
        send(sender)
    assert "503" in str(caught.value)
    assert "hook-0123456789" not in str(caught.value) + repr(sender) + str(vars(sender).keys())
    assert "hook-0123456789" not in "".join(
        r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING
    )
    assert not logging.getLogger("apprise").propagate


def test_a_try_that_hangs_is_given_up_and_not_begun_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_S", 0.05)
    flows = threading.Event()

    def hang(*_: str) -> str | None:
        flows.wait()
        return None

    sender = Sender("alerts.urls[0] (json)", notify=hang)
    with pytest.raises(NotSent, match="did not answer within"):
        send(sender)
    with pytest.raises(NotSent, match="the try before hangs still"):
        send(sender)
    flows.set()


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("", "the service did not take it"),
        ("a\n b.", "a b"),
        (None, "the service's code failed (ValueError)"),
    ],
)
def test_a_reason_is_one_line_and_that_of_code_that_fails_without_its_words(
    reason: str | None, words: str
) -> None:
    def refuse(*_: str) -> str:
        if reason is None:
            raise ValueError("token-0123456789")
        return reason

    with pytest.raises(NotSent) as caught:
        send(Sender("x", notify=refuse))
    assert str(caught.value) == words


def test_one_message_follows_the_other_at_once() -> None:
    sender = Sender("x", notify=lambda *_: None)

    async def many() -> None:
        for _ in range(500):
            await sender.send(TEXT)

    asyncio.run(many())


def test_addresses_that_mean_nothing_are_told_all_at_once_by_their_place() -> None:
    with pytest.raises(ConfigError) as caught:
        only("json://localhost", "foo://secret-token", "discord://secret-token")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "alerts.urls[1] (foo)",
        "alerts.urls[2] (discord)",
    ]
    assert "secret-token" not in str(caught.value)
    assert only() == []


def test_an_address_whose_own_library_is_missing_holds_up_no_other(receiver: Receiver) -> None:
    mqtt, other = only("mqtt://me:s3cr3t@h/x", receiver.url())
    with pytest.raises(NotSent, match=r"apprise needs paho-mqtt>=") as caught:
        send(mqtt)
    send(other)
    assert (mqtt.label, len(receiver.messages)) == ("alerts.urls[0] (mqtt)", 1)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "text", "reason"),
    [
        ("apprise", "raise ImportError('no requests')", "ImportError: no requests"),
        ("apprise", "import no_such_module", "ModuleNotFoundError: "),
        ("apprise", "", "AttributeError: "),  # another module of its name
        ("paho", "raise RuntimeError", "RuntimeError)"),  # a part of it is broken
    ],
)
def test_an_apprise_that_cannot_be_loaded_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, text: str, reason: str
) -> None:
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("apprise", "paho")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(NotSent) as caught:
        send(only("json://localhost")[0])
    assert f"cannot be loaded ({reason}" in str(caught.value)
    assert str(caught.value).endswith(" -m pip install --force-reinstall 'apprise>=2.2,<3'")


def test_each_recipient_of_an_address_takes_its_message_for_itself(receiver: Receiver) -> None:
    receiver.refuses = {"bert"}
    anna, bert, carl = only(receiver.topics("anna", "bert", "carl"))
    send(anna)
    send(carl)
    with pytest.raises(NotSent, match="403"):
        send(bert)
    assert [message.topic for message in receiver.messages] == ["anna", "carl"]
    assert anna.label == "alerts.urls[0] (ntfy), recipient 1 of 3"


@pytest.mark.parametrize(
    ("address", "recipients"),
    [
        ("mailto://u:p@example.com?to=a@example.com,b@example.com&cc=c@example.com", 2),
        ("mailto://u:p@example.com", 1),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/%23general/%23ops", 2),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", 1),
        ("rocket://u:p@example.com/%23a/%23b/%40c", 3),
        ("ntfy://example.com/a/b?retry=2", 2),
        ("signal://example.com/+12223334444/+13334445555/+13334445556?batch=yes", 1),
        ("json://example.com,ntfy://example.com/a/b", 3),
        (f"dingtalk://{'a' * 64}/12223334444/12223334445", 1),  # mentioned in one message
    ],
)
def test_an_address_is_split_as_apprise_counts_its_recipients(
    address: str, recipients: int
) -> None:
    assert len(only(address)) == recipients


def test_no_redirect_takes_a_message_and_its_token_elsewhere(receiver: Receiver) -> None:
    with Receiver() as elsewhere:
        receiver.moved = {"/hook-0123456789": elsewhere.url("new").replace("json", "http")}
        with pytest.raises(NotSent, match="301"):
            send(only(receiver.url())[0])
        assert (receiver.came, elsewhere.came) == (1, 0)


def test_an_answer_that_goes_on_and_on_fills_no_memory(receiver: Receiver) -> None:
    receiver.is_endless = True
    for way in (only(receiver.url())[0], only(receiver.url())[0]):
        send(way)
        assert 0 < receiver.poured < 32 * 1024 * 1024
    assert len(receiver.messages) == 2


def test_no_credentials_of_the_home_directory_are_sent_along(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password of-mine\n")
    send(only(receiver.url())[0])
    assert "Authorization" not in receiver.headers[0]


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("spared", ["", "example.com", "*"])
def test_a_message_to_this_host_goes_by_no_proxy(
    receiver: Receiver, spared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", spared)
    send(only(receiver.url())[0])
    assert len(receiver.messages) == 1


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ("@everyone and @here", "{at}everyone and {at}here"),
        ("<!channel> <@U012> <#C01>", "{lt}!channel> {lt}{at}U012> {lt}#C01>"),
        ("<users/all> <at>a</at>", "{lt}users/all> {lt}at>a</at>"),
        ("<https://bad.example|a bank>", "{lt}https://bad.example|a bank>"),
        ("[a bank](https://bad.example)", "[a bank] (https://bad.example)"),
        ("a\u202eb\x1b[2Jc", "a\\u202eb\\x1b[2Jc"),
        ("a < b @ c [d] (e) <f> & <b>", "a < b @ c [d] (e) <f> & <b>"),
    ],
)
def test_words_from_outside_call_nobody_and_hide_no_link(
    receiver: Receiver, words: str, sent: str
) -> None:
    sent = sent.format(at="\N{FULLWIDTH COMMERCIAL AT}", lt="\N{FULLWIDTH LESS-THAN SIGN}")
    send(only(receiver.url())[0], Text("info", words, words))
    assert (receiver.messages[0].title, receiver.messages[0].body) == (sent, sent)


@pytest.mark.parametrize(
    "reason",
    [
        *("535 wrong: me:p%77d", "no pwd taken", "Basic\n bWU6\ncHdk of me:pwd"),
        "no way by http://me:pw1@proxy.invalid:1",
        *("AUTH bWU6cHdk", "AUTH PLAIN AG1lAHB3ZA==", "AUTH LOGIN cHdk"),
    ],
)
def test_a_service_that_repeats_a_password_of_whatever_length_is_told_without_it(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://me:pw1@proxy.invalid:1")
    (sender,) = only("mailto://me:p%77d@example.com")
    monkeypatch.setattr(sender, "_notify", lambda *_: reason)
    with pytest.raises(NotSent) as caught:
        send(sender)
    trails = ("p%77d", "pwd", "pw1", "cHdk", "B3ZA")
    assert [each for each in trails if each in str(caught.value)] == []


def test_no_address_stands_in_a_repr_or_a_dump_of_the_settings() -> None:
    settings = Settings(
        alerts=Alerts(
            urls=(SecretStr("json://h/token-0123456789"),),
            heartbeat_url=SecretStr("https://h/ping-0123456789"),
        )
    )
    shown = repr(settings) + str(settings._asdict())
    assert "0123456789" not in shown
