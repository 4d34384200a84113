"""The program: finds the command that was asked for, and turns errors into exit codes."""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from voicekeeper import __version__
from voicekeeper.cli import owner, prose
from voicekeeper.errors import INTERRUPTED, VoicekeeperError, reason

HEADINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "Keep": {
        "run": "Run the daemon: keep every voice in the registry alive.",
        "reload": "Have the daemon take its settings anew.",
    },
    "Register": {
        "add": "Register a voice that exists.",
        "clone": "Request a voice made from a recording.",
        "design": "Request a voice made from a description.",
        "import": "Register many voices from JSON Lines.",
        "export": "Write the registry as JSON Lines.",
    },
    "Read": {
        "list": "List the voices and the time each has left.",
        "show": "Show all that is known of a voice.",
        "history": "Show what happened in a voice's life.",
        "resolve": "Print the voice_id of a voice.",
        "status": "Tell whether all is well; for people and monitoring.",
        "check": "Tell whether the set-up is right.",
        "alerts": "See that messages to people arrive.",
    },
    "Change": {
        "keep": "Use a voice now.",
        "touch": "Record a use made elsewhere.",
        "pause": "Stop keeping a voice.",
        "resume": "Keep a paused voice again.",
        "retry": "Repeat an enrollment; it is paid for again.",
        "remove": "Forget a voice.",
    },
    "Look after": {
        "backup": "Copy the registry to a file.",
        "restore": "Put such a copy back.",
    },
    "Try": {
        "demo": "Watch four voices live and die in a minute, without a key.",
        "rehearse": "Live through years of keeping in minutes, and all that goes wrong.",
        "sandbox": "Run a stand-in of the gateway on this machine.",
        "completion": "Print a script that completes commands and names.",
        "manual": "Print the manual page.",
    },
}
"""Every command and its line in the help, under its heading."""

_SHARED_MODULES: Final = {
    **dict.fromkeys(("add", "import", "export"), "register"),
    **dict.fromkeys(("clone", "design", "retry"), "enroll"),
    **dict.fromkeys(("list", "show", "history", "resolve"), "read"),
    **dict.fromkeys(("check", "alerts"), "check"),
    **dict.fromkeys(("keep", "touch", "pause", "resume", "remove"), "change"),
    **dict.fromkeys(("backup", "restore"), "copies"),
    **dict.fromkeys(("completion", "manual"), "manual"),
}
"""The modules in ``commands`` that hold several commands; any other bears its command's name."""

_UNKNOWN = 3
"""The exit code of a wrong use of `status`: monitoring reads 2 as critical."""


@contextmanager
def _broken_pipe_is_no_error() -> Iterator[None]:
    """End the command in peace when its reader, such as `head`, has enough."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit from None


class _Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:  # noqa: ANN401 - click's
        """Read the options before the command, ``--help`` among them."""
        with _broken_pipe_is_no_error():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        with _broken_pipe_is_no_error():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for commands in HEADINGS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = _SHARED_MODULES.get(cmd_name, cmd_name)
        commands = importlib.import_module(f"voicekeeper.cli.commands.{module}")
        command: click.Command = getattr(commands, f"{cmd_name}_command")
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        for heading, commands in HEADINGS.items():
            with formatter.section(heading):
                formatter.write_dl(list(commands.items()), col_max=12)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The settings file; else $VOICEKEEPER_CONFIG, else /etc/voicekeeper/config.toml, "
    "else defaults.",
)
@click.version_option(__version__, message="voicekeeper %(version)s")
@click.pass_context
def program(ctx: click.Context, config: Path | None) -> None:
    """Keep custom voices alive on the APIXO gateway.

    The gateway deletes a custom voice that no speech call has used for seven
    consecutive days. Register your voices, run the daemon, and none is lost.
    """
    ctx.obj = config  # read by `session`, which is imported only when a command needs it


def run(args: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    try:
        result = program.main(list(args), prog_name="voicekeeper", standalone_mode=False)
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as no_command:
        prose.put(no_command.format_message(), err=True)
        return no_command.exit_code
    except click.UsageError as error:
        command = error.ctx.info_name if error.ctx and error.ctx.parent else None
        is_status = "status" in args if command is None else command == "status"
        exit_code = fail(error)
        return _UNKNOWN if is_status else exit_code
    except (click.ClickException, VoicekeeperError, OSError, UnicodeEncodeError) as error:
        return fail(error)
    except Exception as error:
        if owner.can_read_program():
            raise
        return fail(owner.closed_program(error))
    return result if isinstance(result, int) else 0


def fail(error: click.ClickException | VoicekeeperError | OSError | UnicodeEncodeError) -> int:
    """Print what went wrong; return the exit code."""
    rest: Sequence[str] = ()
    name = "voicekeeper"
    match error:
        case click.UsageError():
            name = error.ctx.command_path if error.ctx else name
            words = error.format_message().strip().replace("\n\t", " ")  # click's list of choices
            end = "" if words.endswith((".", "?", "!")) else "."
            first = f"{words}{end} See '{name} --help'."
        case click.ClickException():
            first = error.format_message()
        case VoicekeeperError():
            first, *rest = error.lines
        case UnicodeEncodeError():
            first = f"stdout cannot take what is no {error.encoding} text; use a UTF-8 locale"
        case _:
            first = reason(error)
    prose.say(f"{name}: {first}", *rest)
    return getattr(error, "exit_code", 1)
