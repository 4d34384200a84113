"""``voicekeeper manual`` and ``completion``: what is made from the commands themselves.

``manual.1`` beside this file is the page, in roff (``groff_man(7)``); the help of every command is
set into it. One page for all commands, because a person looks for a word in it, not for the page
that it is on.
"""

import inspect
import re
import string
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from voicekeeper import __version__
from voicekeeper.cli.program import HEADINGS, program
from voicekeeper.errors import EXIT_CODES, InvalidInput

_SIGNS: Final = str.maketrans(
    {"\\": r"\e", "-": r"\-", "~": r"\(ti", "^": r"\(ha", "`": r"\(ga"},
)
_QUOTED = re.compile(r"(?<![\w'])'([^'\n]{2,60})'(?![\w'])")
_OPTION = re.compile(r"(-{1,2}[a-z][a-z-]*)|([^\s,]+(?: RANGE)?)")


@click.command
def manual_command() -> None:
    """Print the manual page, made from the commands themselves.

    \b
    To read it at once, or have 'man voicekeeper' find it:
      voicekeeper manual | man -l -
      voicekeeper manual > ~/.local/share/man/man1/voicekeeper.1

    The installer of the systemd units does that for everybody.
    """  # noqa: D301 - click's mark for lines to leave alone must be the character itself
    if sys.flags.optimize > 1:
        raise InvalidInput(
            "PYTHONOPTIMIZE=2 and 'python -OO' leave out the texts that the page is made of; "
            "print it without"
        )
    click.echo(page(), nl=False)


def page() -> str:
    """Return the manual page."""
    ctx = click.Context(program, info_name="voicekeeper", **program.context_settings)
    _, _, description = inspect.cleandoc(program.help or "").partition("\n\n")
    exit_codes = ((".TP", rf"\fB{code}\fR", text(words)) for code, words in EXIT_CODES.items())
    template = string.Template(Path(__file__).with_suffix(".1").read_text("ascii"))
    return template.substitute(
        version=__version__,
        description="\n".join(paragraphs(description)),
        options="\n".join(_options(program, ctx, helps=True)),
        commands="\n".join(_commands(ctx)),
        exit_codes="\n".join(line for lines in exit_codes for line in lines),
    )


def _commands(ctx: click.Context) -> Iterator[str]:
    for heading, names in HEADINGS.items():
        yield f'.SS "{text(heading)}"'
        yield from _below(program, names, ctx)


def _below(group: click.Group, names: Iterable[str], ctx: click.Context) -> Iterator[str]:
    for name in names:
        if (command := group.get_command(ctx, name)) is not None:
            yield from _command(command, click.Context(command, parent=ctx, info_name=name))


def _command(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """Yield the help of one command, and of those below it."""
    options = [p for p in command.params if isinstance(p, click.Option)]
    arguments = [p.make_metavar(ctx) for p in command.params if isinstance(p, click.Argument)]
    usage = rf"\fB{text(ctx.command_path)}\fR"
    usage += r" [\fIOPTIONS\fR]" if options else ""
    usage += r" \fICOMMAND\fR" if isinstance(command, click.Group) else ""
    yield ".TP 2"
    yield " ".join([usage, *(rf"\fI{text(argument)}\fR" for argument in arguments)])
    yield from paragraphs(command.help or "", is_indented=True)
    if options:
        yield ".RS 2"
        yield from _options(command, ctx)
        yield ".RE"
    if isinstance(command, click.Group):
        yield from _below(command, command.list_commands(ctx), ctx)


def _options(command: click.Command, ctx: click.Context, *, helps: bool = False) -> Iterator[str]:
    """Yield the options; that each command has ``--help`` is said once."""
    for parameter in command.get_params(ctx):
        if isinstance(parameter, click.Argument) or (not helps and "--help" in parameter.opts):
            continue
        names, words = parameter.get_help_record(ctx) or ("", "")
        yield ".TP"
        yield _OPTION.sub(
            lambda part: rf"\fB{text(part[1])}\fR" if part[1] else rf"\fI{text(part[2])}\fR", names
        )
        yield text(" ".join(words.split()))


def paragraphs(help_text: str, *, is_indented: bool = False) -> Iterator[str]:
    """Yield the paragraphs of a help; lines that click leaves alone are left alone here too."""
    for place, paragraph in enumerate(inspect.cleandoc(help_text).split("\n\n")):
        first, *lines = paragraph.splitlines()
        if place:
            yield '.IP "" 2' if is_indented else ".PP"
        if first.strip() == "\b":
            yield from (".nf", *map(_literal, lines), ".fi")
        else:
            yield text(" ".join([first, *lines]))


def text(words: str) -> str:
    """Return prose as roff has it, with bold for what stands in quotes to be typed."""
    return _protected(_QUOTED.sub(r"\\fB\1\\fR", words.translate(_SIGNS)))


def _literal(line: str) -> str:
    """Return a line whose every sign stays what it is."""
    return _protected(line.translate(_SIGNS).replace("'", r"\(aq"))


def _protected(line: str) -> str:
    """Return a line that roff takes for no request."""
    return rf"\&{line}" if line.startswith((".", "'")) else line


class _Bash(BashComplete):
    """Each word is quoted: a name such as ``$(id)`` would run when the line is entered.

    The program is the one on PATH: a file that a person has begun to name is not run at Tab.
    """

    source_template = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$(printf %%q "$value")") ;;
        esac
    done < <(IFS=$'\\n'; env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
        %(complete_var)s=bash_complete %(prog_name)s)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Fish(FishComplete):
    """A name may hold a comma; fish itself quotes what it completes."""

    source_template = """\
function %(complete_func)s
    for completion in (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) \\
            COMP_CWORD=(commandline -t) %(prog_name)s)
        set -l parts (string split -m 1 , -- $completion)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case plain
                printf '%%s\\n' $parts[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


_SHELLS: Final[dict[str, type[ShellComplete]]] = {
    "bash": _Bash,
    "zsh": ZshComplete,  # quotes what it completes
    "fish": _Fish,
}


@click.command
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion_command(ctx: click.Context, *, shell: str) -> None:
    """Print a script that completes commands, options and voices' names.

    \b
    bash:
      voicekeeper completion bash \\
        > ~/.local/share/bash-completion/completions/voicekeeper
    zsh:
      voicekeeper completion zsh > "${fpath[1]}/_voicekeeper"
    fish:
      voicekeeper completion fish \\
        > ~/.config/fish/completions/voicekeeper.fish
    """  # noqa: D301 - click's mark for lines to leave alone must be the character itself
    complete = _SHELLS[shell]
    program = ctx.find_root().command
    click.echo(complete(program, {}, "voicekeeper", "_VOICEKEEPER_COMPLETE").source())
