"""The registry in SQLite: one file, two sides.

`Registry` is for people (register, read, change), `Worklist` for keepers (claim, record), and
`Database` is the file under both. `chronicle` writes the history that both tell.
"""

from voicekeeper.store.chronicle import LogLine
from voicekeeper.store.database import Database
from voicekeeper.store.jobs import Claims, Job
from voicekeeper.store.registry import NewVoice, Registry
from voicekeeper.store.worklist import Outlook, Worklist

__all__ = [
    "Claims",
    "Database",
    "Job",
    "LogLine",
    "NewVoice",
    "Outlook",
    "Registry",
    "Worklist",
]
