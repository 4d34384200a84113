"""What two trial calls tell of the way to the webhook: each trouble with its mend."""

import pytest

from voicekeeper.core import reachability
from voicekeeper.core.health import Severity
from voicekeeper.core.reachability import Reply, Trouble

OURS = Reply(404, is_ours=True)
REFUSED = Reply(trouble=Trouble.CONNECTION, reason="connection refused")
OK, WARNING, CRITICAL = Severity.OK, Severity.WARNING, Severity.CRITICAL


def judged(near: Reply, far: Reply, *, runs: bool = True) -> tuple[Severity, str]:
    finding = reachability.judged(
        near,
        far,
        public_url="https://voices.example.com/webhook",
        listen="127.0.0.1:8470",
        runs=runs,
    )
    return finding.severity, finding.sentence


def test_a_way_that_leads_to_the_receiver_is_well_as_far_as_this_host_can_tell() -> None:
    severity, sentence = judged(OURS, OURS)
    assert severity is OK
    assert "as seen from this host" in sentence


@pytest.mark.parametrize(
    ("far", "severity", "words"),
    [
        (Reply(trouble=Trouble.NAME), CRITICAL, ["not known", "DNS", "webhook.public_url"]),
        (
            Reply(trouble=Trouble.TLS, reason="certificate has expired"),
            CRITICAL,
            ["(certificate has expired)", "renew it"],
        ),
        (REFUSED, WARNING, ["(connection refused)", "firewall", "from elsewhere"]),
        (Reply(trouble=Trouble.TIME), WARNING, ["(no answer in time)", "firewall"]),
        (Reply(trouble=Trouble.CONNECTION), WARNING, ["(it broke off)"]),
        (Reply(502), CRITICAL, ["answers 502", "http://127.0.0.1:8470/webhook/"]),
        (Reply(504), CRITICAL, ["answers 504", "does not reach the daemon"]),
        (Reply(404), CRITICAL, ["another program", "404", "http://127.0.0.1:8470/webhook/"]),
        (Reply(200), CRITICAL, ["another program", "200"]),
        (Reply(301), CRITICAL, ["another program", "301"]),
        (Reply(403), CRITICAL, ["another program", "403", "lets POST through"]),
    ],
)
def test_what_is_wrong_before_the_receiver_is_told_with_its_mend(
    far: Reply, severity: Severity, words: list[str]
) -> None:
    found, sentence = judged(OURS, far)
    assert found is severity
    assert [word for word in words if word not in sentence] == []


def test_the_mend_names_the_path_of_the_public_url() -> None:
    url = "https://voices.example.com/team/hooks"
    found = reachability.judged(
        OURS, Reply(404), public_url=url, listen="127.0.0.1:8470", runs=True
    )
    assert f"that it hands {url}/ on to http://127.0.0.1:8470/team/hooks/" in found.sentence


@pytest.mark.parametrize(
    ("near", "runs", "severity", "words"),
    [
        (REFUSED, False, WARNING, ["nothing answers at 127.0.0.1:8470", "no daemon runs"]),
        (REFUSED, True, CRITICAL, ["though a daemon made a pass", "restart it", "listener.failed"]),
        (Reply(trouble=Trouble.TIME), True, CRITICAL, ["though a daemon made a pass"]),
        (Reply(200), True, CRITICAL, ["another program answers at 127.0.0.1:8470 (200)"]),
        (Reply(404), False, CRITICAL, ["another program answers", "webhook.listen"]),
    ],
)
def test_what_is_wrong_at_the_receiver_is_told_alone_where_its_proxy_only_follows(
    near: Reply, *, runs: bool, severity: Severity, words: list[str]
) -> None:
    found, sentence = judged(near, Reply(502), runs=runs)
    assert found is severity
    assert [word for word in words if word not in sentence] == []
    assert "502" not in sentence


def test_trouble_on_both_sides_is_told_with_both_mends_and_as_the_worse() -> None:
    severity, sentence = judged(REFUSED, Reply(trouble=Trouble.NAME), runs=False)
    assert severity is CRITICAL
    assert "no daemon runs; start it and check again; and the name in " in sentence


def test_a_voicekeeper_of_another_host_is_not_taken_for_this_one() -> None:
    severity, sentence = judged(REFUSED, OURS, runs=False)
    assert severity is WARNING
    assert "one on another host" in sentence
