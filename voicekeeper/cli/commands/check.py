"""``voicekeeper check`` and ``alerts``: whether the set-up is right, and messages arrive."""

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Final

import click

from voicekeeper import notify
from voicekeeper.cli import network, prose
from voicekeeper.cli.options import pass_session
from voicekeeper.cli.session import Session, must_exist
from voicekeeper.config import DEFAULT_PATH, FoundKey, of_service
from voicekeeper.core import costs, health, messages, webhook
from voicekeeper.core.duration import compact, rfc3339
from voicekeeper.core.health import Finding, Health, Keeping, Severity
from voicekeeper.errors import CallFailed, ConfigError, NotFound, NotSent, VoicekeeperError
from voicekeeper.gateway import GatewayClient
from voicekeeper.store.backup import DailyCopies

_SENTENCE_AT = 19  # the column
_MOST_VARIABLES = 2
_LET_THROUGH = "and that DNS, firewall and proxy let this host through"
_VERDICTS: Final = {Severity.OK: "ok", Severity.WARNING: "warning"}


@click.command
@pass_session
def check_command(session: Session) -> int:
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
    for check in _Checks(session).all():
        lines: tuple[str, ...] = ()
        try:
            finding = check()
        except VoicekeeperError as error:
            finding = Finding(Severity.CRITICAL, str(error))
            lines = error.problems if isinstance(error, ConfigError) else error.lines
            exit_code = exit_code or error.exit_code
        if finding.severity is Severity.CRITICAL:
            exit_code = exit_code or VoicekeeperError.exit_code
        verdict = _VERDICTS.get(finding.severity, "failed")
        sentence, *rest = lines or [finding.sentence]
        rest = [" " * _SENTENCE_AT + line.removeprefix("  ") for line in rest]
        prose.tell(f"{verdict:<8} {check.__name__:<9} {sentence}", *rest, indent=_SENTENCE_AT)
    return exit_code


def _ok(sentence: str) -> Finding:
    return Finding(Severity.OK, sentence)


def _warning(sentence: str) -> Finding:
    return Finding(Severity.WARNING, sentence)


class _Checks:
    """Each check returns a finding about its subject, or raises why it failed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._settings = session.settings
        self._ahead: timedelta | None = None

    def all(self) -> Sequence[Callable[[], Finding]]:
        """Return every check, by the name of its subject; each may build on those before it."""
        return (
            *(self.settings, self.key, self.gateway, self.clock, self.database, self.backup),
            *(self.daemon, self.alerts, self.heartbeat, self.webhook),
        )

    @cached_property
    def _found(self) -> FoundKey | VoicekeeperError:
        """The key that the service uses; root becomes the registry's owner once it is read."""
        session = self._session
        try:
            return session.find_key(service=of_service(session.places.file or DEFAULT_PATH))
        except VoicekeeperError as error:
            return error
        finally:
            with contextlib.suppress(VoicekeeperError):  # told where the database is looked at
                _ = session.file

    @cached_property
    def _health(self) -> Health | None:
        """The fleet's; None where the database has a line of its own."""
        session = self._session
        try:
            return session.registry().health(now=session.now, policy=session.policy)
        except VoicekeeperError:
            return None

    @property
    def _is_kept(self) -> bool:
        found, tick = self._health, self._settings.daemon.tick
        return found is not None and not found.keeping.is_missing(now=self._session.now, tick=tick)

    def settings(self) -> Finding:
        """Name the file of the settings, and the variables that have the last word."""
        keepalive, (file, variables) = self._settings.keepalive, self._session.places
        shown = ", ".join(f"${name}" for name in variables[:_MOST_VARIABLES])
        if len(variables) > _MOST_VARIABLES:
            shown += f" and {len(variables) - _MOST_VARIABLES} more"
        if file is not None:
            places = f"{file}, and over it {shown}" if shown else str(file)
        else:
            places = f"defaults{shown and ' and ' + shown}, as there is no {DEFAULT_PATH}"
        return _ok(
            f"{places}; a voice is used every {compact(keepalive.interval)} "
            f"of its window of {compact(keepalive.window)}",
        )

    def key(self) -> Finding:
        """Name the place of the key."""
        if isinstance(self._found, VoicekeeperError):
            raise self._found
        return _ok(f"read from {self._found.place}")

    def gateway(self) -> Finding:
        """Judge whether the gateway takes the key, and how long the account lasts."""
        if isinstance(self._found, VoicekeeperError):
            return _warning("not asked, for want of a key; mend that first")
        try:
            balance = network.answer(self._ask(self._found))
        except CallFailed as failure:
            if failure.code is not None:
                raise  # an answer, with the mend that the page names for it
            mend = f"see that upstream.base_url is right, {_LET_THROUGH}"
            raise CallFailed(f"{failure}; {mend}") from None
        taken = f"{self._settings.upstream.base_url} takes the key"
        if balance is None:
            return _ok(taken)
        kept = 0 if self._health is None else self._health.kept
        days = costs.runway_days(balance, kept, self._session.policy)
        judged = _warning if costs.is_short(days) else _ok
        return judged(f"{taken}; {costs.runway(balance, days)}")

    async def _ask(self, key: FoundKey) -> int | None:
        """Return the balance, None where it is not told; note how far the host's clock is ahead."""
        clock = self._session.clock
        async with GatewayClient(self._settings.upstream, key.secret, clock=clock) as gateway:
            told_at = await gateway.check_key()
            self._ahead = None if told_at is None else clock.now() - told_at
            with contextlib.suppress(CallFailed):  # it need not tell
                return await gateway.balance_micros()
        return None

    def clock(self) -> Finding:
        """Judge the host's clock by the gateway's."""
        if self._ahead is None:
            return _warning(
                "not compared, as the gateway told no time; 'timedatectl' tells whether it is set"
            )
        return health.of_clock(self._ahead)

    def database(self) -> Finding:
        """Judge whether the registry is there and whole, and has room."""
        database = self._session.database
        try:
            must_exist(database)
        except NotFound as error:
            database.check_place()
            return _warning(str(error))
        database.prepare(upgrade=False)
        database.check()
        file = database.file
        if file is None:
            return _ok(f"{database.place} answers ({database.state()})")
        whole = f"{self._settings.database_path} is whole ({database.state()})"
        room = health.of_disk(shutil.disk_usage(file.parent).free, file.stat().st_size)
        return _ok(whole) if room is None else _warning(f"{whole}; {room.sentence}")

    def backup(self) -> Finding:
        """Judge the daily copies."""
        file = self._session.database.file
        if file is None:
            return _ok("left to the server's own tools, such as pg_dump")
        return health.of_copies(DailyCopies(file).last_day(), now=self._session.now)

    def daemon(self) -> Finding:
        """Judge whether a daemon is at work."""
        keeping = Keeping(None) if self._health is None else self._health.keeping
        if not self._is_kept or keeping.last_pass_at is None:
            return _warning(keeping.sentence)
        return _ok(f"last pass at {rfc3339(keeping.last_pass_at)}")

    def alerts(self) -> Finding:
        """Judge whether messages could be sent; none is."""
        ways = notify.senders(self._settings.alerts.urls)
        if not ways:
            return _ok("alerts.urls names no address, so the log alone tells")
        if lacking := notify.lacking(ways):
            return _warning("; ".join(f"{labels}: {why}" for why, labels in lacking.items()))
        addresses = "1 address is" if len(ways) == 1 else f"{len(ways)} addresses are"
        return _ok(f"{addresses} understood; 'voicekeeper alerts test' sends a trial message")

    def heartbeat(self) -> Finding:
        """Send a ping where it is true; else see that its host answers."""
        address = self._settings.alerts.heartbeat_url
        if address is None:
            return _ok("alerts.heartbeat_url is not set, so nobody waits for a ping")
        is_in_time = self._is_kept and self._health is not None and not self._health.overdue
        try:
            network.answer(notify.ping(address) if is_in_time else notify.reach(address))
        except NotSent as failure:
            sentence = f"alerts.heartbeat_url: {failure}; see that it is right, {_LET_THROUGH}"
            return Finding(Severity.CRITICAL, sentence)
        if is_in_time:
            return _ok("alerts.heartbeat_url took a ping")
        return _ok(
            "the host of alerts.heartbeat_url answers; a ping was not sent, as it would say that "
            "voices are kept in time"
        )

    def webhook(self) -> Finding:
        """Call the receiver of webhooks where it listens, and where the gateway calls."""
        url, listen = self._settings.webhook.public_url, str(self._settings.webhook.listen)
        if url is None:
            return _ok("webhook.public_url is not set, so the daemon asks how an enrollment ends")
        here = f"http://{listen}{webhook.path(url)}"

        async def both() -> tuple[webhook.Reply, webhook.Reply]:
            return await asyncio.gather(
                network.call_webhook(here, by_proxy=False), network.call_webhook(url)
            )

        near, far = network.answer(both())
        # ``run --once`` listens to nothing
        runs = self._is_kept and self._health is not None and not self._health.once
        return webhook.judged(near, far, public_url=url, listen=listen, runs=runs)


@click.group
def alerts_command() -> None:
    """Messages to people: see that they arrive.

    Where they go is told by alerts.urls in the settings.
    """


@alerts_command.command
@pass_session
def test(session: Session) -> int:
    """Send a trial message to each address of alerts.urls.

    A line tells of each address whether it took the message. Exits with 0 if
    all did, 1 if one did not, 78 if the settings name none or one that cannot
    be used. The registry is not touched, and no key is needed.
    """
    ways = notify.senders(session.settings.alerts.urls)
    if not ways:
        raise ConfigError(["alerts.urls: names no address, so nobody is told anything"])
    if lacking := notify.lacking(ways):
        raise ConfigError([f"{labels}: {reason}" for reason, labels in lacking.items()])
    _ = session.file  # an address may name a file: it is read as by the daemon
    failures = asyncio.run(_send_all(ways))
    for way, failure in zip(ways, failures, strict=True):
        line = f"ok       {way.label} took the message; see that it is there"
        if failure is not None:
            line = f"failed   {way.label} did not take it: {failure}"
        prose.tell(line, indent=9)
    return 1 if any(failures) else 0


async def _send_all(ways: list[notify.Sender]) -> list[NotSent | None]:
    """Send to all at once; return in which way each failed, if it did."""
    trial = messages.trial(host=socket.gethostname())

    async def failure(way: notify.Sender) -> NotSent | None:
        try:
            await way.send(trial)
        except NotSent as error:
            return error
        return None

    return list(await asyncio.gather(*map(failure, ways)))
