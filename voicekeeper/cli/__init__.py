"""The command line: ``voicekeeper COMMAND``.

`program` lists the commands; each stands in ``commands``, few together where they share a subject.
`session` finds settings and database for it; `prose`, `table` and `document` lay out what it shows.
Data goes to stdout, words to stderr, and every error is one clear sentence.
"""

from voicekeeper.cli.program import main

__all__ = ["main"]
