"""``voicekeeper completion``: a shell script that completes commands and names."""

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(ctx: click.Context, *, shell: str) -> None:
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
    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"there is no completion for {shell}")
    program = ctx.find_root().command
    click.echo(complete(program, {}, "voicekeeper", "_VOICEKEEPER_COMPLETE").source())
