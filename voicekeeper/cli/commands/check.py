"""``voicekeeper check``: whether the set-up is right."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import click

from voicekeeper import alerts, bootstrap, detached, forecast, health, reachability, webhook
from voicekeeper.cli import prose
from voicekeeper.cli.options import pass_session
from voicekeeper.cli.session import Session, must_exist
from voicekeeper.config import DEFAULT_PATH, FoundKey, of_service
from voicekeeper.duration import compact, rfc3339
from voicekeeper.errors import CallFailed, ConfigError, NotFound, NotSent, VoicekeeperError
from voicekeeper.health import Finding, Severity, unkept
from voicekeeper.secret import SecretStr
from voicekeeper.store.backup import DailyCopies
from voicekeeper.upstream import trial

_SENTENCE_AT = 19  # the column
_SHOWN_VARIABLES = 2
_NO_PING = "see that it is right, and that DNS, firewall and proxy let this host through"
_NO_ANSWER = (
    "see that upstream.base_url is right, and that DNS, firewall and proxy let this host through"
)


@click.command
@pass_session
def command(session: Session) -> int:
    """Tell whether the set-up is right: settings, key, gateway, database, daemon.

    It asks the gateway for a task and for the account's balance, which costs
    nothing; a balance for less than 30 days is a warning. Addresses of alerts
    are read and sent nothing; the heartbeat's is pinged if voices are kept in
    time, else its host is called; the webhook is, with what is no token.
    Each line is ok, warning or failed. Exits with 0 if none failed, else as
    the first that did: 77 the gateway refuses the key, 78 the settings or the
    database are wrong or there is no key, 1 the gateway is not reached, the
    clock is off by over an hour, the heartbeat's address takes no ping or the
    webhook leads elsewhere.
    """
    exit_code = 0
    _ = session.settings  # if they are wrong, the rest would check what nobody wants
    key = _found_key(session)
    gateway = _Gateway(session, key)
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("settings", partial(_settings, session)),
        ("key", partial(_key, key)),
        ("gateway", gateway.judged),
        ("clock", gateway.clock_judged),
        ("database", partial(_database, session)),
        ("backup", partial(_backup, session)),
        ("daemon", partial(_daemon, session)),
        ("alerts", partial(_alerts, session)),
        ("heartbeat", partial(_heartbeat, session)),
        ("webhook", partial(_webhook, session)),
    ]
    for subject, check in checks:
        lines: tuple[str, ...] = ()
        try:
            finding = check()
        except VoicekeeperError as error:
            finding = Finding(Severity.CRITICAL, str(error))
            lines = error.problems if isinstance(error, ConfigError) else error.lines
            exit_code = exit_code or error.exit_code
        if finding.severity is Severity.CRITICAL:
            exit_code = exit_code or VoicekeeperError.exit_code
        verdict = {Severity.OK: "ok", Severity.WARNING: "warning"}.get(finding.severity, "failed")
        sentence, *rest = lines or [finding.sentence]
        rest = [" " * _SENTENCE_AT + line.removeprefix("  ") for line in rest]
        prose.tell(f"{verdict:<8} {subject:<9} {sentence}", *rest, indent=_SENTENCE_AT)
    return exit_code


def _settings(session: Session) -> Finding:
    keepalive = session.settings.keepalive
    return Finding(
        Severity.OK,
        f"{_places(session)}; a voice is used every {compact(keepalive.interval)} "
        f"of its window of {compact(keepalive.window)}",
    )


def _places(session: Session) -> str:
    """Tell where the settings stand, and which variables have the last word."""
    file, variables = session.places.file, session.places.variables
    shown = ", ".join(f"${name}" for name in variables[:_SHOWN_VARIABLES])
    if len(variables) > _SHOWN_VARIABLES:
        shown += f" and {len(variables) - _SHOWN_VARIABLES} more"
    if file is not None:
        return f"{file}, and over it {shown}" if shown else str(file)
    return f"defaults{shown and ' and ' + shown}, as there is no {DEFAULT_PATH}"


def _found_key(session: Session) -> FoundKey | VoicekeeperError:
    """Find the key that the service uses, and be root no longer; nothing here needs it after."""
    try:
        found = session.find_key(service=of_service(session.places.file or DEFAULT_PATH))
    except VoicekeeperError as error:
        return error
    finally:
        with contextlib.suppress(VoicekeeperError):  # told where the database is looked at
            _ = session.file
    return found


def _key(found: FoundKey | VoicekeeperError) -> Finding:
    if isinstance(found, VoicekeeperError):
        raise found
    return Finding(Severity.OK, f"read from {found.place}")


class _Gateway:
    """The gateway, asked once.

    Args:
        session: whose settings name it.
        key: that it is asked with, or why there is none.
    """

    def __init__(self, session: Session, key: FoundKey | VoicekeeperError) -> None:
        self._session = session
        self._key = key
        self._ahead: timedelta | None = None

    def judged(self) -> Finding:
        """Judge whether it takes the key, and how long the account lasts.

        Raises:
            VoicekeeperError: it does not, or is not reached.
        """
        session = self._session
        if isinstance(self._key, VoicekeeperError):
            return Finding(Severity.WARNING, "not asked, for want of a key; mend that first")
        try:
            balance = detached.run(self._ask(self._key.secret))
        except CallFailed as failure:
            if failure.code is not None:
                raise  # an answer, with the mend that the page names for it
            raise CallFailed(f"{failure}; {_NO_ANSWER}") from None
        taken = Finding(Severity.OK, f"{session.settings.upstream.base_url} takes the key")
        return taken if balance is None else _with_balance(session, taken, balance)

    def clock_judged(self) -> Finding:
        """Judge the host's clock by the gateway's."""
        if self._ahead is None:
            return Finding(
                Severity.WARNING,
                "not compared, as the gateway told no time; 'timedatectl' tells whether it is set",
            )
        return health.of_clock(self._ahead)

    async def _ask(self, api_key: SecretStr) -> int | None:
        session = self._session
        async with bootstrap.gateway(session.settings, api_key, session.clock) as gateway:
            told_at = await gateway.check_key()
            self._ahead = None if told_at is None else session.clock.now() - told_at
            with contextlib.suppress(CallFailed):  # it need not tell
                return await gateway.balance_micros()
        return None


def _with_balance(session: Session, taken: Finding, balance: int) -> Finding:
    """Add what the account holds, and for how long that pays the keepalives of the fleet."""
    try:
        kept = session.registry().health(now=session.now, policy=session.policy).kept
    except VoicekeeperError:
        kept = 0  # the database has a line of its own
    days = forecast.runway_days(balance, kept, session.policy)
    return Finding(
        Severity.WARNING if forecast.is_short(days) else taken.severity,
        f"{taken.sentence}; {forecast.runway(balance, days)}",
    )


def _database(session: Session) -> Finding:
    database = session.database()
    try:
        must_exist(database)
    except NotFound as error:
        database.check_place()
        return Finding(Severity.WARNING, str(error))
    database.prepare(upgrade=False)
    database.check()
    file = database.file
    if file is None:
        return Finding(Severity.OK, f"{database.place} answers ({database.state()})")
    room = health.of_disk(shutil.disk_usage(file.parent).free, file.stat().st_size)
    sentence = f"{session.settings.database_path} is whole ({database.state()})"
    if room is None:
        return Finding(Severity.OK, sentence)
    return Finding(room.severity, f"{sentence}; {room.sentence}")


def _backup(session: Session) -> Finding:
    file = session.database().file
    if file is None:
        return Finding(Severity.OK, "left to the server's own tools, such as pg_dump")
    last = DailyCopies(file).last_day()
    return health.of_copies(last, now=session.now)


def _daemon(session: Session) -> Finding:
    try:
        registry = session.registry()
        last, runs = registry.last_pass_at(), registry.runs()
        missing = registry.is_unkept(now=session.now, tick=session.settings.daemon.tick)
    except VoicekeeperError:
        last, runs, missing = None, None, True
    if missing:
        return Finding(Severity.WARNING, unkept(last, runs=runs))
    return Finding(Severity.OK, f"last pass at {rfc3339(last)}" if last else "")


def _alerts(session: Session) -> Finding:
    """See that messages could be sent; none is."""
    ways = alerts.senders(session.settings.alerts.urls)
    if not ways:
        return Finding(Severity.OK, "alerts.urls names no address, so the log alone tells")
    if lacking := alerts.lacking(ways):
        reasons = "; ".join(f"{labels}: {reason}" for reason, labels in lacking.items())
        return Finding(Severity.WARNING, reasons)
    addresses = "1 address is" if len(ways) == 1 else f"{len(ways)} addresses are"
    return Finding(
        Severity.OK, f"{addresses} understood; 'voicekeeper alerts test' sends a trial message"
    )


def _heartbeat(session: Session) -> Finding:
    """Send a ping where it tells the truth; else see that its host answers."""
    address = session.settings.alerts.heartbeat_url
    if address is None:
        return Finding(Severity.OK, "alerts.heartbeat_url is not set, so nobody waits for a ping")
    kept = _is_in_time(session)
    try:
        detached.run(alerts.ping(address) if kept else alerts.reach(address))
    except NotSent as failure:
        return Finding(Severity.CRITICAL, f"alerts.heartbeat_url: {failure}; {_NO_PING}")
    if kept:
        return Finding(Severity.OK, "alerts.heartbeat_url took a ping")
    return Finding(
        Severity.OK,
        "the host of alerts.heartbeat_url answers; a ping was not sent, as it would say that "
        "voices are kept in time",
    )


def _is_in_time(session: Session) -> bool:
    tick = session.settings.daemon.tick
    try:
        return session.registry().is_in_time(now=session.now, tick=tick, policy=session.policy)
    except VoicekeeperError:
        return False  # the database has a line of its own


def _webhook(session: Session) -> Finding:
    """Call the receiver of webhooks where it listens, and where the gateway calls."""
    url, listen = session.settings.webhook.public_url, session.settings.webhook.listen
    if url is None:
        return Finding(
            Severity.OK,
            "webhook.public_url is not set, so the daemon asks how an enrollment ends",
        )
    here = f"http://{listen}{webhook.path(url)}"

    async def both() -> tuple[reachability.Reply, reachability.Reply]:
        return await asyncio.gather(trial.call(here, by_proxy=False), trial.call(url))

    near, far = detached.run(both())
    return reachability.judged(near, far, public_url=url, listen=str(listen), runs=_runs(session))


def _runs(session: Session) -> bool:
    """Tell whether a daemon runs that listens, which ``run --once`` does not."""
    try:
        known = session.registry().health(now=session.now, policy=session.policy)
    except VoicekeeperError:
        return False  # the database has a line of its own
    return not known.once and not health.lacks_keeper(
        known, now=session.now, tick=session.settings.daemon.tick
    )
