"""What is read on a terminal: tables with a bar of each window."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voicekeeper.cli import prose
from voicekeeper.cli.bar import bar, has_blocks
from voicekeeper.core.alerting import is_at_risk
from voicekeeper.core.duration import words
from voicekeeper.core.enums import Status
from voicekeeper.core.facts import ANOTHER_VOICE, VoiceFacts, is_another_voice
from voicekeeper.core.schedule import Policy, known_deadline

_COLORS = {
    Status.OK: "green",
    Status.NEW: "cyan",
    Status.DEPLOYING: "cyan",
    Status.UNKNOWN: "yellow",
}
_ZERO = timedelta(0)


def table(
    voices: Iterable[VoiceFacts], *, now: datetime, policy: Policy, console: Console
) -> Table:
    """Return the voices as a table for a terminal."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    shown.add_column("NAME", min_width=6)
    shown.add_column("STATUS", no_wrap=True)
    shown.add_column("TIME LEFT", no_wrap=True)
    shown.add_column("NEXT", no_wrap=True)
    shown.add_column("LAST ERROR")
    for voice in voices:
        shown.add_row(
            prose.cell(voice.name, is_cut=True),
            status(voice),
            left(voice, now=now, policy=policy, plain=not has_blocks(console)),
            next_keepalive(voice, now=now),
            prose.cell(voice.last_error or "", is_cut=True),
        )
    return shown


def status(voice: VoiceFacts) -> Text:
    """Return the status in its color, whether the voice is paused, and whether it is another."""
    shown = Text(voice.status, style=_COLORS.get(voice.status, "red"))
    if voice.paused:
        shown.append(" paused", style="dim")
    if is_another_voice(voice):
        shown.append(f", {ANOTHER_VOICE}", style="yellow")
    return shown


def left(voice: VoiceFacts, *, now: datetime, policy: Policy, plain: bool = False) -> Text:
    """Return the time left: a bar of the window, and words, also for a voice at risk."""
    deadline = known_deadline(voice, policy)
    if voice.status.is_dead:
        return Text("-", style="dim")
    if deadline is None:
        shown = Text("not known yet" if voice.voice_id else "-", style="dim")
    else:
        margin = deadline - now
        shown = bar(margin / policy.window, plain=plain)
        shown.append(f" {words(margin)}" if margin > _ZERO else " window over")
    if is_at_risk(voice, now=now, policy=policy):
        shown.append(", at risk", style="bold red")
    return shown


def next_keepalive(voice: VoiceFacts, *, now: datetime) -> str:
    """Return in words when a keeper looks at the voice next."""
    if voice.next_at is None:
        return "-"
    wait = voice.next_at - now
    when = "now" if wait <= _ZERO else f"in {words(wait)}"
    return f"tried again {when}" if voice.status.is_dead else when
