"""``voicekeeper alerts``: what people are told outside of the log."""

import asyncio
import socket

import click

from voicekeeper import notify
from voicekeeper.cli import prose
from voicekeeper.cli.options import pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core import messages
from voicekeeper.errors import ConfigError, NotSent
from voicekeeper.notify import Sender


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


async def _send_all(ways: list[Sender]) -> list[NotSent | None]:
    """Send to all at once; return in which way each failed, if it did."""
    trial = messages.trial(host=socket.gethostname())

    async def failure(way: Sender) -> NotSent | None:
        try:
            await way.send(trial)
        except NotSent as error:
            return error
        return None

    return list(await asyncio.gather(*map(failure, ways)))
