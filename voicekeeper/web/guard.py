"""By which names the page is served: no stranger's web page can read it through its own name.

A browser lets a page read what came from the page's own name. Whoever owns a name can have it
lead to this port once the page is loaded (DNS rebinding), and so read from inside the network, or
this host, what is closed from outside. The name stands in the request's ``Host``, so it is looked
at. Whoever asks by an address, or by a name that nobody outside can own, is answered as ever.
"""

import re
from collections.abc import Callable, Collection
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from voicekeeper.hosts import read

MISDIRECTED: Final = 421
"""HTTP's status for a request that came to who does not answer for its host (RFC 9110)."""

REFUSAL: Final = (
    "voicekeeper is not served under this name; "
    "ask by an IP address, or add the name to web.hosts\n"
)

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(:[0-9]*)?")


def is_served(host: str, names: Collection[str]) -> bool:
    """Tell whether what is asked for by a ``Host`` is answered.

    An address is no name that could be made to lead elsewhere. A name without a dot is known to
    the local network alone: ``localhost``, a machine's, a container's.

    Args:
        host: of the request, with its port or without.
        names: those of this host and of the settings, in small letters.
    """
    written = _HOST.fullmatch(host)
    if written is None:
        return False
    name = written["name"].strip("[]").lower().rstrip(".")
    is_address = read(name) is not None
    return is_address or "." not in name or name.endswith(".localhost") or name in names


class Guard:
    """Answers for the names that are known, in front of another application.

    Args:
        app: answers what is let through.
        names: returns the names as they are now, in small letters.
    """

    def __init__(self, app: ASGIApp, names: Callable[[], Collection[str]]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. One without a ``Host`` is no browser's."""
        hosts = Headers(scope=scope).getlist("host")
        if all(is_served(host, self._names()) for host in hosts):
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse(REFUSAL, MISDIRECTED)(scope, receive, send)
