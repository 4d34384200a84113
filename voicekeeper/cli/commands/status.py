"""``voicekeeper status``: whether all is well, for people and for monitoring."""

import sys

import click

from voicekeeper.cli import document, prose
from voicekeeper.cli.session import Session, json_option, pass_session
from voicekeeper.duration import rfc3339
from voicekeeper.errors import VoicekeeperError
from voicekeeper.health import Severity, findings, headline
from voicekeeper.models import Status


@click.command
@json_option
@pass_session
def command(session: Session, *, as_json: bool) -> int:
    """Tell whether all is well: one line, then what is not and what to do.

    The exit code is what monitoring plugins use: 0 ok, 1 warning,
    2 critical, 3 unknown.
    """
    try:
        policy, tick = session.policy, session.settings.daemon.tick
        health = session.registry().health(now=session.now, policy=policy)
    except VoicekeeperError as error:
        if as_json:
            unknown = {"schema": document.SCHEMA, "status": "unknown", "findings": [str(error)]}
            click.echo(document.text(unknown))
        else:
            click.echo(prose.fitted(f"UNKNOWN: {error}", sys.stdout))
        return Severity.UNKNOWN
    found = findings(health, now=session.now, tick=tick, policy=policy)
    worst = max((finding.severity for finding in found), default=Severity.OK)
    line = headline(health, now=session.now, tick=tick)
    if as_json:
        click.echo(
            document.text(
                {
                    "schema": document.SCHEMA,
                    "status": worst.name.lower(),
                    "headline": line,
                    "findings": [finding.sentence for finding in found],
                    "voices": {status: health.by_status.get(status, 0) for status in Status},
                    "paused": health.paused,
                    "overdue": health.overdue,
                    "at_risk": health.at_risk,
                    "blocked": bool(health.blocked),
                    "keeper": health.keeper,
                    "last_pass_at": rfc3339(health.last_pass_at) if health.last_pass_at else None,
                }
            )
        )
        return worst
    click.echo(f"{worst.name}: {line}")
    for finding in found:
        line = f"  {finding.severity.name.lower()}: {finding.sentence}"
        click.echo(prose.fitted(line, sys.stdout, indent=4))
    return worst
