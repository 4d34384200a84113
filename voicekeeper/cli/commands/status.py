"""``voicekeeper status``: whether all is well, for people and for monitoring."""

from collections.abc import Iterator

import click

from voicekeeper.cli import document, prose
from voicekeeper.cli.options import json_option, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core import costs
from voicekeeper.core.costs import DAY, YEAR, Totals, about_usd, usd
from voicekeeper.core.enums import Status
from voicekeeper.core.health import Finding, Health, Severity, findings, headline
from voicekeeper.core.schedule import Policy
from voicekeeper.errors import VoicekeeperError


@click.command
@json_option
@pass_session
def status_command(session: Session, *, as_json: bool) -> int:
    """Tell whether all is well: one line, then what is not and what to do.

    Last comes what was spent, by the gateway's prices, and what keeping the
    voices costs.

    The exit code is what monitoring plugins use: 0 ok, 1 warning,
    2 critical, 3 unknown, and for a wrong use of the command.
    """
    try:
        policy, tick = session.policy, session.settings.daemon.tick
        mute = _mute(session)  # before the user changes, who may not see this program's files
        registry = session.registry()
        health = registry.health(now=session.now, policy=policy)
        totals = registry.totals(now=session.now)
    except VoicekeeperError as error:
        if as_json:
            prose.put(document.text({"status": "unknown", "findings": [str(error)]}))
        else:
            first, *rest = error.lines
            prose.tell(f"UNKNOWN: {first}", *rest)
        return Severity.UNKNOWN
    found = findings(health, now=session.now, tick=tick, policy=policy) + mute
    worst = max((finding.severity for finding in found), default=Severity.OK)
    line = headline(health, now=session.now, tick=tick)
    if as_json:
        prose.put(
            document.text(
                {
                    "status": worst.name.lower(),
                    "headline": line,
                    "findings": [finding.sentence for finding in found],
                    "voices": {status: health.by_status.get(status, 0) for status in Status},
                    "paused": health.paused,
                    "overdue": health.overdue,
                    "at_risk": health.at_risk,
                    "blocked": bool(health.blocked),
                    "keeper": health.keeper,
                    "keepers": list(health.keepers),
                    "last_pass_at": document.instant(health.last_pass_at),
                    "held": health.held + health.held_for_good,
                    **document.money(totals, health, policy),
                }
            )
        )
        return worst
    prose.tell(f"{worst.name}: {line}")
    for finding in found:
        prose.tell(f"  {finding.severity.name.lower()}: {finding.sentence}", indent=4)
    if len(health.keepers) > 1:
        active, *others = health.keepers
        prose.tell(f"  kept by {active}; standing by: {', '.join(others)}", indent=4)
    for line in _spending(totals, health, policy):
        prose.tell(f"  {line}", indent=4)
    return worst


def _mute(session: Session) -> list[Finding]:
    """See whether what sends the messages is there, where an address waits for some."""
    if not session.settings.alerts.urls:
        return []
    from voicekeeper.core import extras  # noqa: PLC0415 - for few

    lacking = extras.missing(extras.ALERTS)
    return [Finding(Severity.WARNING, f"nobody is sent a message: {lacking}")] if lacking else []


def _spending(totals: Totals, health: Health, policy: Policy) -> Iterator[str]:
    """Yield what was spent, and what keeping the voices costs; nothing where it is nothing."""
    spent = (totals.today, totals.last_30_days, totals.ever)
    if totals.ever.at_most:
        certain = _in_turn(*(usd(each.certain) for each in spent))
        yield f"spent, by the gateway's prices: {certain}"
    if totals.ever.possible:
        possible = _in_turn(*(usd(each.possible) for each in spent))
        yield f"possibly spent too, as no answer told: {possible}"
    kept, days, balance = health.kept, health.runway_days(policy), health.balance
    if kept:
        day, year = (about_usd(costs.keepalive_costs(kept, p, policy)) for p in (DAY, YEAR))
        yield f"keeping {'it' if kept == 1 else 'them'} costs about {day} a day, {year} a year"
    if balance is not None and not costs.is_short(days):  # one that is short is a finding
        yield costs.runway(balance.micros, days, told_at=balance.told_at)


def _in_turn(today: str, last_30_days: str, ever: str) -> str:
    return f"{today} today, {last_30_days} in 30 days, {ever} ever"
