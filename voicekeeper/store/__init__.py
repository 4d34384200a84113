"""The registry in its database, and the sides of it.

`Registry` is for people (register, read, change), `Worklist` for keepers (claim, record), `Outbox`
for the notifier (what people are sent), and `Database` is what lies under all: a file of SQLite
(`SqliteDatabase`), a rehearsal's in memory (`MemoryDatabase`), or a server's, in `postgres`, which
needs its driver. `history` writes what happened.
"""
