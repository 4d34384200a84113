"""``voicekeeper keep``, ``touch``, ``pause``, ``resume`` and ``remove``: changes to one voice."""

import shlex

import click

from voicekeeper.cli import prose
from voicekeeper.cli.options import name_argument, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core import requests
from voicekeeper.core.duration import words
from voicekeeper.core.schedule import known_deadline
from voicekeeper.core.visible import visible


@click.command
@name_argument
@pass_session
def keep_command(session: Session, *, name: str) -> None:
    """Use the voice NAME now: make it due for a keepalive.

    Even one that was given up, such as a LOST voice: it is OK again if the
    gateway knows it after all.
    """
    registry = session.registry()
    registry.keep(name, now=session.now)
    if session.is_unkept(registry.keeping()):
        when = "once it runs"
    elif session.note_paused(registry.blocked(), registry.get(name).model):
        when = "when calls flow again"
    else:
        when = "on its next pass"
    prose.say(f"{name} is due now; the daemon uses it {when}.")
    session.note_unkept(registry)


@click.command
@name_argument
@click.option("--at", metavar="TIME", help="When, e.g. 2026-05-01T12:00:00Z; else now.")
@pass_session
def touch_command(session: Session, *, name: str, at: str | None) -> None:
    """Record that the voice NAME was used elsewhere, so that it needs no call.

    Count only speech calls that succeeded: the gateway counts no others.
    """
    used_at = session.now if at is None else requests.used_at(at, now=session.now)
    session.registry().touch(name, used_at, now=session.now, policy=session.policy)
    prose.say(f"{name}: the use is recorded.")


@click.command
@name_argument
@pass_session
def pause_command(session: Session, *, name: str) -> None:
    """Stop keeping the voice NAME.

    The gateway's window goes on: unless the voice is used elsewhere or
    resumed in time, the gateway deletes it.
    """
    registry = session.registry()
    registry.pause(name, now=session.now)
    voice = registry.get(name)
    deadline = known_deadline(voice, session.policy)
    told = f"{name} is paused"
    if deadline is not None and deadline > session.now and not voice.status.is_dead:
        told += f", and deleted by the gateway in {words(deadline - session.now)} if nobody uses it"
    prose.say(f"{told}; 'voicekeeper resume {name}' keeps it again.")


@click.command
@name_argument
@pass_session
def resume_command(session: Session, *, name: str) -> None:
    """Keep the paused voice NAME again, at once if it fell due."""
    registry = session.registry()
    registry.resume(name, now=session.now, policy=session.policy)
    prose.say(f"{name} is kept again.")
    session.note_unkept(registry)


@click.command
@name_argument
@pass_session
def remove_command(session: Session, *, name: str) -> None:
    """Forget the voice NAME and its history.

    The gateway still has it until its window is over, as there is no call
    to delete a voice there; until then 'voicekeeper add' takes it back.
    """
    voice = session.registry().remove(name, now=session.now)
    prose.say(f"{name} is removed.")
    if voice.voice_id is not None and not voice.status.is_dead:
        command = ["voicekeeper", "add", voice.voice_id, "--name", name]
        if voice.model != session.settings.upstream.model:
            command += ["--model", voice.model]
        lines = [f"  {shlex.join(command)}"]
        if len(lines[0]) > prose.WIDEST:
            lines = [f"  {shlex.join(command[:3])} \\", f"    {shlex.join(command[3:])}"]
        undo = ["To keep it after all:", *map(visible, lines)]
        prose.put("\n".join(undo), err=True)  # unbroken, to be copied
