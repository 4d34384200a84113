"""The registry in its database, and the sides of it.

`Registry` is for people (register, read, change), `Worklist` for keepers (claim, record), `Outbox`
for the courier (what people are sent), and `Database` is what lies under all: a file of SQLite
(`SqliteDatabase`), a rehearsal's in memory (`MemoryDatabase`), or a server's, in `postgres`, which
needs its driver. `chronicle` writes the history that the first two tell.
"""

from voicekeeper.store.chronicle import LogLine
from voicekeeper.store.database import Database
from voicekeeper.store.jobs import Answer, Claims, Job
from voicekeeper.store.memory import MemoryDatabase
from voicekeeper.store.outbox import Outbox, Parcel
from voicekeeper.store.pruner import Pruned
from voicekeeper.store.registry import NewVoice, Registry
from voicekeeper.store.sqlite import SqliteDatabase
from voicekeeper.store.worklist import Outlook, Worklist

__all__ = [
    "Answer",
    "Claims",
    "Database",
    "Job",
    "LogLine",
    "MemoryDatabase",
    "NewVoice",
    "Outbox",
    "Outlook",
    "Parcel",
    "Pruned",
    "Registry",
    "SqliteDatabase",
    "Worklist",
]
