"""``voicekeeper completion``: a shell script that completes commands and names."""

from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete


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
