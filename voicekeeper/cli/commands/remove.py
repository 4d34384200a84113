"""``voicekeeper remove``: forget a voice."""

import shlex

import click

from voicekeeper.archive import directory_of
from voicekeeper.cli import prose
from voicekeeper.cli.options import name_argument, pass_session
from voicekeeper.cli.session import Session


@click.command
@name_argument
@pass_session
def command(session: Session, *, name: str) -> None:
    """Forget the voice NAME, its history and the audio that is kept of it.

    The gateway still has it until its window is over, as there is no call
    to delete a voice there; until then 'voicekeeper add' takes it back.
    """
    registry = session.registry()
    files = registry.audio_files(name)
    voice = registry.remove(name, now=session.now)
    path = session.settings.database_path
    if path is not None:
        for file in files:
            (directory_of(path) / file).unlink(missing_ok=True)
    click.echo(f"{name} is removed.", err=True)
    if voice.voice_id is not None and not voice.status.is_dead:
        command = ["voicekeeper", "add", voice.voice_id, "--name", name]
        if voice.model != session.settings.upstream.model:
            command += ["--model", voice.model]
        click.echo(f"To keep it after all:\n{_to_copy(command)}", err=True)


def _to_copy(command: list[str]) -> str:
    """Write a command for a shell, its options on a line of their own if they need one."""
    line = f"  {shlex.join(command)}"
    if len(line) <= prose.WIDEST:
        return line
    return f"  {shlex.join(command[:3])} \\\n    {shlex.join(command[3:])}"
