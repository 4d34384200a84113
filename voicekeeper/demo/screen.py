"""What a person sees: a live display on a terminal, plain lines elsewhere, and the verdict."""

from collections.abc import Callable
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from voicekeeper.bar import bar, has_blocks
from voicekeeper.demo.cast import GONE, NOT_YET, Row
from voicekeeper.demo.happening import Happening
from voicekeeper.demo.play import WINDOWS, Demo, Scene
from voicekeeper.demo.verdict import Verdict
from voicekeeper.duration import words
from voicekeeper.pricing import usd
from voicekeeper.visible import visible

_CELLS: Final = 30
_MOST_LINES: Final = 8
_ROWS_BESIDE: Final = 15
"""Of the screen, taken by all that is not the log."""

_COLORS = {"OK": "green", "DEPLOYING": "cyan", NOT_YET: "dim"}
_KINDS = {"command": "bold", "info": "", "warning": "yellow", "error": "red"}


def present(demo: Demo, console: Console) -> Verdict:
    """Play a demonstration on a console, and tell how it ended.

    Raises:
        VoicekeeperError: the daemon ended early, or a voice could not be registered.
        KeyboardInterrupt, SystemExit: a signal asked for the end.
    """
    window = words(demo.window)
    console.print(
        "The gateway deletes a custom voice that nobody uses for 7 days. Here a\n"
        f"stand-in on this machine does so after {window}. The real daemon keeps three\n"
        "of four voices; the fourth is left alone.\n"
    )
    if console.is_terminal and not console.is_dumb_terminal:
        # Cropped, since rich's own mark for what was left out is not ASCII.
        with Live(
            console=console, auto_refresh=False, transient=True, vertical_overflow="crop"
        ) as live:
            verdict = demo.play(lambda scene: live.update(frame(scene, console), refresh=True))
    else:

        def tell(line: str) -> None:
            console.print(_fit_for(console.encoding, line), markup=False, soft_wrap=True)

        verdict = demo.play(PlainLines(tell))
        console.print()
    console.print(outcome(verdict))
    return verdict


def frame(scene: Scene, console: Console) -> RenderableType:
    """Return one picture of the live display; it fits the console's height."""
    lines = min(max(console.height - _ROWS_BESIDE, 1), _MOST_LINES)
    return Group(
        _voices(scene, plain=not has_blocks(console)),
        Text(""),
        Text(_progress(scene), style="dim"),
        Text(""),
        *(_line(each, console.encoding) for each in scene.happenings[-lines:]),
    )


def _voices(scene: Scene, *, plain: bool) -> Table:
    shown = _table("VOICE", "STATUS", "TIME LEFT", "KEEPALIVES")
    shown.columns[1].min_width = len("DEPLOYING")
    shown.columns[2].min_width = _CELLS + len(" 20 s")
    shown.columns[3].justify = "right"
    for row in scene.rows:
        status = Text(row.status, style=_COLORS.get(row.status, "red"))
        uses = Text(str(row.uses)) if row.is_kept else Text("not kept", style="dim")
        shown.add_row(row.name, status, _time_left(row, scene, plain=plain), uses)
    return shown


def _time_left(row: Row, scene: Scene, *, plain: bool) -> Text:
    if row.status == GONE:
        return Text(f"nobody used it for {words(scene.window)}", style="red")
    if row.left is None:
        return Text(NOT_YET, style="dim")
    return bar(row.share, cells=_CELLS, plain=plain).append(f" {words(row.left)}")


def _progress(scene: Scene) -> str:
    if scene.remains is None:
        return "The voices are being registered; the daemon's log:"
    over = WINDOWS * scene.window - scene.remains
    number = min(max(int(over / scene.window), 0) + 1, WINDOWS)
    return f"Window {number} of {WINDOWS}, {words(scene.remains)} to go; the daemon's log:"


def _line(each: Happening, encoding: str) -> Text:
    text = Text(f"{each.at:3.0f} s  ", style="dim", no_wrap=True, overflow="crop")
    return text.append(_fit_for(encoding, each.text), style=_KINDS[each.kind])


def _fit_for(encoding: str, text: str) -> str:
    """Return a text that can be written; a library's words may hold any character."""
    return visible(text).encode(encoding, "backslashreplace").decode(encoding)


class PlainLines:
    """Tells a demonstration line by line: what changes at once, the time left now and then."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told = 0
        self._statuses: tuple[str, ...] = ()
        self._next = 0.0

    def __call__(self, scene: Scene) -> None:
        """Tell what is new in a scene."""
        for each in scene.happenings[self._told :]:
            if each.kind != "info":
                self._tell(f"{each.at:3.0f} s  {each.text}")
        self._told = len(scene.happenings)
        statuses = tuple(row.status for row in scene.rows)
        if set(statuses) == {NOT_YET}:
            return
        if statuses != self._statuses or scene.at >= self._next:
            self._statuses = statuses
            self._next = scene.at + scene.window.total_seconds() / 4
            self._tell(f"{scene.at:3.0f} s  {', '.join(map(_in_words, scene.rows))}")


def _in_words(row: Row) -> str:
    if row.left is None:
        return f"{row.name} {'not made' if row.status == NOT_YET else row.status}"
    return f"{row.name} {row.status} {words(row.left)}"


def outcome(verdict: Verdict) -> RenderableType:
    """Return the verdict and what to do next."""
    shown = _table("VOICE", "ORIGIN", "KEEPALIVES", f"AFTER {WINDOWS} WINDOWS")
    shown.columns[2].justify = "right"
    for fate in verdict.fates:
        end = Text(fate.end, style="green" if fate.is_alive else "red")
        shown.add_row(fate.name, fate.origin, str(fate.uses) if fate.is_kept else "-", end)
    calls = (
        f"\n{verdict.keepalives} keepalives, {verdict.enrollments} enrollments and"
        f" {verdict.polls} polls; at the gateway's prices {usd(verdict.cost_micros)}.\n"
    )
    if verdict.broken:
        return Group(shown, Text(calls))
    return Group(
        shown,
        Text(
            f"{calls}"
            "As promised: the three that were kept live, and the fourth is gone for good.\n"
            "This was read from the stand-in's books; nothing left this machine.\n\n"
            "Next: 'voicekeeper add --help' for a voice of your own; the README for the rest."
        ),
    )


def _table(*headings: str) -> Table:
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        shown.add_column(heading, no_wrap=True, overflow="crop")
    return shown
