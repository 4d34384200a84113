"""The whole promise in a minute: three voices that are kept, and one that is not.

The sandbox stands in for the gateway, with a window of seconds in place of days. Against it work
the real daemon and the real commands, as processes of their own with a configuration of their
own. What is shown, and how it ends, is read from the sandbox's books, never from the registry:
a keeper must not be the judge of its own work.

- `cast`: the four voices, and what the books say of each.
- `verdict`: whether it came as promised.
- `happening`: a line of the daemon's log, for a person.
- `installation`: the temporary directory, the daemon in it, and the commands.
- `interruption`: Ctrl-C as something that happens, not as an exception anywhere.
- `play`: the order of it all.
- `screen`: a live display on a terminal, plain lines elsewhere.
"""

from voicekeeper.demo.play import Demo
from voicekeeper.demo.screen import present

__all__ = ["Demo", "present"]
