"""``voicekeeper remove``: forget a voice."""

import shlex

import click

from voicekeeper.cli import prose
from voicekeeper.cli.options import name_argument, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core.visible import visible


@click.command
@name_argument
@pass_session
def command(session: Session, *, name: str) -> None:
    """Forget the voice NAME and its history.

    The gateway still has it until its window is over, as there is no call
    to delete a voice there; until then 'voicekeeper add' takes it back.
    """
    registry = session.registry()
    voice = registry.remove(name, now=session.now)
    prose.say(f"{name} is removed.")
    if voice.voice_id is not None and not voice.status.is_dead:
        command = ["voicekeeper", "add", voice.voice_id, "--name", name]
        if voice.model != session.settings.upstream.model:
            command += ["--model", voice.model]
        prose.put("\n".join(["To keep it after all:", *_to_copy(command)]), err=True)


def _to_copy(command: list[str]) -> list[str]:
    """Write a command for a shell, its options on a line of their own if they need one."""
    line = f"  {shlex.join(command)}"
    lines = [line]
    if len(line) > prose.WIDEST:
        lines = [f"  {shlex.join(command[:3])} \\", f"    {shlex.join(command[3:])}"]
    return [visible(line) for line in lines]
