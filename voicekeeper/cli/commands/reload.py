"""``voicekeeper reload``: what ``systemctl reload`` runs."""

import os
import stat

import click

from voicekeeper.cli import owner, prose
from voicekeeper.daemon import reload_socket
from voicekeeper.errors import VoicekeeperError


@click.command
def reload_command() -> int:
    """Have the daemon take its settings anew; 'systemctl reload' runs this.

    It ends when the new settings are in force. If they are wrong, or cannot
    change while the daemon runs, the old ones stay in force, and it tells why
    and exits with 78. It works inside a systemd service only; elsewhere send
    the daemon SIGHUP, and its log tells.
    """
    directory = reload_socket.directory(os.environ)
    if directory is None:
        raise VoicekeeperError(
            "there is no $RUNTIME_DIRECTORY: type 'systemctl reload voicekeeper', or send a "
            "daemon that is no service SIGHUP"
        )
    socket = directory.absolute() / reload_socket.NAME
    if (user := owner.owner_of(socket, is_kind=stat.S_ISSOCK)) is not None:
        owner.become(user)  # whoever has the folder answers
    answer = reload_socket.ask(directory)
    if answer.problem:
        first, *rest = answer.problem.split("\n")  # a problem each, in which none is left
        prose.say(f"voicekeeper: the old settings stay in force: {first}", *rest)
    return answer.exit_code
