"""A registry's file read without the tables, for commands that scripts and prompts wait for.

With the libraries of the tables, ``resolve`` took 30 times as long as ``python3 -c pass``; by
sqlite3 alone it takes a fifth of that. What that costs: these few queries are written a second
time, by hand, and tests hold their answers against those of `store.Registry`.

A glance never explains. It reads a file of SQLite that is whole and of this version, and values
that are of their type to the letter; whatever else it meets is `Unsure`, and the registry has to
be asked, which knows better or has the sentence for it.

The parts: `file` opens it, `columns` reads the values of a row, `voices` are the voices one by
one, and `fleet` is all of them as a whole.
"""
