"""The command line: ``voicekeeper COMMAND``.

The file tree is the command tree: each module in ``commands`` holds one command, its parser and
its handler. `session` finds settings and database for it; `prose`, `table` and `document` lay out
what it shows. Data goes to stdout, words to stderr, and every error is one clear sentence.
"""

from voicekeeper.cli.main import main

__all__ = ["main"]
