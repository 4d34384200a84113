"""``voicekeeper show``: all that is known of a voice."""

import sys

import click
from rich.table import Table
from rich.text import Text

from voicekeeper.cli import document, prose, table
from voicekeeper.cli.bar import has_blocks
from voicekeeper.cli.options import json_option, name_argument, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core.duration import rfc3339


@click.command
@name_argument
@json_option
@pass_session
def command(session: Session, *, name: str, as_json: bool) -> None:
    """Show all that is known of the voice NAME."""
    registry = session.registry()
    voice = registry.get(name)
    spent = registry.spent(voice)
    preview_url = registry.preview_url(voice)
    if as_json:
        shown = {"schema": document.SCHEMA, **document.voice(voice, session.policy)}
        shown |= {"recipe": voice.recipe, **document.spent(spent)}
        prose.put(document.text({**shown, "preview_url": preview_url}))
        return
    console = prose.console()
    rows: dict[str, str | Text] = {
        "name": voice.name,
        "voice_id": voice.voice_id or "-",
        "model": voice.model,
        "origin": voice.origin,
        "status": table.status(voice),
        "time left": table.left(
            voice, now=session.now, policy=session.policy, plain=not has_blocks(console)
        ),
        "last used": rfc3339(voice.last_used_at) if voice.last_used_at else "-",
        "next keepalive": table.next_keepalive(voice, now=session.now),
        "failures": str(voice.failures),
        "held back" if voice.held_at else "last error": voice.last_error or "-",
        "cost so far": f"{spent} (estimate)",
        "registered": rfc3339(voice.created_at),
    }
    if preview_url is not None:
        rows["preview"] = preview_url
    rows |= {f"recipe {field}": value for field, value in (voice.recipe or {}).items()}
    if not sys.stdout.isatty():
        for label, value in rows.items():
            prose.columns(label, str(value))
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows.items():
        grid.add_row(prose.cell(label), value if isinstance(value, Text) else prose.cell(value))
    console.print(grid)
