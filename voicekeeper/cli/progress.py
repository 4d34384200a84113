"""A bar on stderr while a person waits; nothing where nobody looks."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.progress import Progress

from voicekeeper.cli import prose


@contextlib.contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar until it is done with; give what is told how much more is done.

    Args:
        label: what is being done.
        total: how much there is to do.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    console = prose.console(stderr=True)
    # What goes into a pipe meanwhile must not turn up above the bar.
    with Progress(console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)
