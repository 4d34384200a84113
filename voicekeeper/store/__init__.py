"""The registry in SQLite: one file, two sides.

`Registry` is for people (register, read, change), `Worklist` for keepers (claim, record), `Outbox`
for the courier (what people are sent), and `Database` is the file under all. `chronicle` writes
the history that the first two tell.
"""

from voicekeeper.store.chronicle import LogLine
from voicekeeper.store.database import Database
from voicekeeper.store.jobs import Answer, Claims, Job
from voicekeeper.store.outbox import Outbox, Parcel
from voicekeeper.store.registry import NewVoice, Registry
from voicekeeper.store.worklist import Outlook, Worklist

__all__ = [
    "Answer",
    "Claims",
    "Database",
    "Job",
    "LogLine",
    "NewVoice",
    "Outbox",
    "Outlook",
    "Parcel",
    "Registry",
    "Worklist",
]
