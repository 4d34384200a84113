"""``voicekeeper check``: whether the set-up is right."""

import asyncio
import os
import sys
from collections.abc import Callable

import click
from pydantic import SecretStr

from voicekeeper import bootstrap
from voicekeeper.cli import prose
from voicekeeper.cli.session import Session, pass_session
from voicekeeper.config import DEFAULT_PATH, find_api_key
from voicekeeper.duration import compact, rfc3339
from voicekeeper.errors import ConfigError, NotFound, VoicekeeperError
from voicekeeper.health import Finding, Severity, unkept
from voicekeeper.store.database import WAL_IS_SAFE

_SENTENCE_AT = 19  # the column
_SHOWN_VARIABLES = 2


@click.command
@pass_session
def command(session: Session) -> int:
    """Tell whether the set-up is right: settings, key, gateway, database, daemon.

    It asks the gateway one question that costs nothing. Each line is ok,
    warning or failed. Exits with 0 if none failed, else as the first that
    did: 77 the gateway refuses the key, 78 the settings or the database are
    wrong or there is no key, 1 the gateway is not reached.
    """
    exit_code = 0
    _ = session.settings  # if they are wrong, the rest would check what nobody wants
    checks: list[tuple[str, Callable[[Session], Finding]]] = [
        ("settings", _settings),
        ("key", _key),
        ("gateway", _gateway),
        ("database", _database),
        ("daemon", _daemon),
    ]
    for subject, check in checks:
        try:
            finding = check(session)
        except VoicekeeperError as error:
            finding = Finding(Severity.CRITICAL, str(error))
            exit_code = exit_code or error.exit_code
        verdict = {Severity.OK: "ok", Severity.WARNING: "warning"}.get(finding.severity, "failed")
        sentence = finding.sentence.replace("\n  ", "\n" + " " * _SENTENCE_AT)
        line = f"{verdict:<8} {subject:<9} {sentence}"
        click.echo(prose.fitted(line, sys.stdout, indent=_SENTENCE_AT))
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


def _key(session: Session) -> Finding:
    return Finding(Severity.OK, f"read from {find_api_key(session.settings, os.environ).place}")


def _gateway(session: Session) -> Finding:
    try:
        api_key = find_api_key(session.settings, os.environ).secret
    except ConfigError:
        return Finding(Severity.WARNING, "not asked, for want of a key")
    asyncio.run(_ask(session, api_key))
    return Finding(Severity.OK, f"{session.settings.upstream.base_url} takes the key")


async def _ask(session: Session, api_key: SecretStr) -> None:
    async with bootstrap.gateway(session.settings, api_key, session.clock) as gateway:
        await gateway.check_key()


def _database(session: Session) -> Finding:
    try:
        session.registry()
    except NotFound as error:
        session.database().check_place()
        return Finding(Severity.WARNING, str(error))
    journal = "WAL" if WAL_IS_SAFE else "rollback journal, as this SQLite is older than 3.51.3"
    return Finding(Severity.OK, f"{session.settings.database_path} ({journal})")


def _daemon(session: Session) -> Finding:
    try:
        registry = session.registry()
        last = registry.last_pass_at()
        missing = registry.is_unkept(now=session.now, tick=session.settings.daemon.tick)
    except VoicekeeperError:
        last, missing = None, True
    if missing:
        return Finding(Severity.WARNING, unkept(last))
    return Finding(Severity.OK, f"last pass at {rfc3339(last)}" if last else "")
