"""The voices as a person reads them on a terminal: tables, with a bar of each window."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voicekeeper.cli import prose
from voicekeeper.core.alerting import is_at_risk
from voicekeeper.core.duration import words
from voicekeeper.core.enums import ANOTHER_VOICE, Status, VoiceFacts, is_another_voice
from voicekeeper.core.schedule import Policy, known_deadline

_CELLS = 10
_COLORS = {
    Status.OK: "green",
    Status.NEW: "cyan",
    Status.DEPLOYING: "cyan",
    Status.UNKNOWN: "yellow",
}
_ZERO = timedelta(0)


def voices(
    voices: Iterable[VoiceFacts], *, now: datetime, policy: Policy, console: Console
) -> Table:
    """Return a table of voices, a row each."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    shown.add_column("NAME", min_width=6)
    for heading in ("STATUS", "TIME LEFT", "NEXT"):
        shown.add_column(heading, no_wrap=True)
    shown.add_column("LAST ERROR")
    for voice in voices:
        shown.add_row(
            prose.cell(voice.name, is_cut=True),
            status(voice),
            left(voice, now=now, policy=policy, console=console),
            next_keepalive(voice, now=now),
            prose.cell(voice.last_error or "", is_cut=True),
        )
    return shown


def pairs(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Return a table of labels and values; a label that repeats is shown once."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    before = None
    for label, value in rows:
        shown = prose.cell("" if label == before else label)
        grid.add_row(shown, value if isinstance(value, Text) else prose.cell(value))
        before = label
    return grid


def status(voice: VoiceFacts) -> Text:
    """Return the status in its color, whether the voice is paused, and whether it is another."""
    shown = Text(voice.status, style=_COLORS.get(voice.status, "red"))
    if voice.paused:
        shown.append(" paused", style="dim")
    if is_another_voice(voice):
        shown.append(f", {ANOTHER_VOICE}", style="yellow")
    return shown


def left(voice: VoiceFacts, *, now: datetime, policy: Policy, console: Console) -> Text:
    """Return the time left, as a bar of the window and in words; also for a voice at risk."""
    deadline = known_deadline(voice, policy)
    if voice.status.is_dead:
        return Text("-", style="dim")
    if deadline is None:
        shown = Text("not known yet" if voice.voice_id else "-", style="dim")
    else:
        margin = deadline - now
        shown = bar(margin / policy.window, plain=not has_blocks(console))
        shown.append(f" {words(margin)}" if margin > _ZERO else " window over")
    if is_at_risk(voice, now=now, policy=policy):
        shown.append(", at risk", style="bold red")
    return shown


def next_keepalive(voice: VoiceFacts, *, now: datetime) -> str:
    """Return in words when the next keepalive is due."""
    if voice.next_at is None:
        return "-"
    wait = voice.next_at - now
    when = "now" if wait <= _ZERO else f"in {words(wait)}"
    return f"tried again {when}" if voice.status.is_dead else when


def bar(share: float, *, plain: bool) -> Text:
    """Return a bar for the share of its window that a voice has left, which may exceed 0 to 1."""
    full = round(min(max(share, 0.0), 1.0) * _CELLS)
    marks = "#." if plain else "\u2588\u2591"
    return Text(marks[0] * full, style=color(share)).append(marks[1] * (_CELLS - full), style="dim")


def color(share: float) -> str:
    """Return the color for a share of the window."""
    return "green" if share > 2 / 7 else "yellow" if share > 1 / 14 else "red"


def has_blocks(console: Console) -> bool:
    """Tell whether the console can show more than ASCII."""
    return (console.encoding or "").lower().startswith("utf")
