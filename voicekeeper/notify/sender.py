"""Sends messages to addresses, by apprise, each in a thread that nothing waits for.

apprise knows some hundred services, and calls each of them blocking. A service that hangs holds a
thread of its own and nothing else: the daemon neither waits for it nor, at its end, joins it.
apprise is an optional part of this program, and is imported where an address is set. Where it, or
a library that it needs for an address, is missing, that address takes nothing, and says why.
"""

import asyncio
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial, wraps
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from voicekeeper.core import extras
from voicekeeper.core.events import Level
from voicekeeper.core.messages import Text
from voicekeeper.core.secrecy import Secrets, parts_of, passwords_of, passwords_of_proxies
from voicekeeper.core.secret import SecretStr
from voicekeeper.core.visible import visible
from voicekeeper.errors import ConfigError, NotSent

LONGEST_S: Final = 60.0
"""For one try; apprise itself waits four seconds for a connection and four for an answer."""

_TYPES: Final[dict[Level, str]] = {"info": "info", "warning": "warning", "error": "failure"}
_MENTIONING: Final = ("DingTalk", "Mastodon", "Twitter")
"""Services that mention all recipients in one message, which they still count."""

_LONGEST_REASON = 200
_ANSWER_MOST = 1024 * 1024
"""Bytes of a service's answer that are read; what comes after them is nobody's business."""
_SCHEME_END = "://"
_THIS_HOST: Final = "localhost,127.0.0.0/8,::1"
_CALL: Final = re.compile(r"@(?=\w)|<(?=[!@#]|\w+[:/|]|at>)")
"""``@everyone``, ``<!channel>``, ``<@U01>``, ``<users/all>``, ``<at>``, ``<https://…|a bank>``."""
_LINK: Final = re.compile(r"\]\((?=\S)")
_INERT: Final = {"@": "\N{FULLWIDTH COMMERCIAL AT}", "<": "\N{FULLWIDTH LESS-THAN SIGN}"}


class Sender:
    """The way to one address, of whose secrets no sentence holds any, however short.

    Args:
        label: what people read in place of the address.
        secrets: the parts of the address.
        notify: sends a title, a body and a type, blocking; returns why it was not taken, or None.
        lacks: why nothing can be sent until something is installed; None where it can.
    """

    def __init__(
        self,
        label: str,
        *,
        secrets: Sequence[SecretStr] = (),
        notify: Callable[[str, str, str], str | None] = lambda *_: None,
        lacks: str | None = None,
    ) -> None:
        self.label = label
        self.lacks = lacks
        self._secrets = Secrets((secret.get_secret_value() for secret in secrets), mark="…")
        self._notify = notify
        self._last: Future[str | None] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r})"

    async def send(self, text: Text) -> None:
        """Send one message.

        Raises:
            NotSent: it did not arrive, or nobody knows whether it did.
        """
        if self.lacks is not None:
            raise NotSent(self.lacks)
        if self._last is not None and not self._last.done():
            raise NotSent("the try before hangs still")
        self._last = Future()
        self._last.set_running_or_notify_cancel()  # nothing but its thread ends it
        threading.Thread(
            target=self._notify_in_thread,
            args=(self._last, text),
            name=self.label,
            daemon=True,  # one that hangs must not keep the process from its end
        ).start()
        try:
            reason = await asyncio.wait_for(asyncio.wrap_future(self._last), LONGEST_S)
        except TimeoutError:
            raise NotSent(f"the service did not answer within {LONGEST_S:g} s") from None
        except Exception as error:  # noqa: BLE001 - whatever a service's code does
            raise NotSent(f"the service's code failed ({type(error).__name__})") from None
        if reason is not None:
            raise NotSent(self._without_secrets(reason))

    def _notify_in_thread(self, ended: "Future[str | None]", text: Text) -> None:
        try:
            body = "\n".join(_inert(line) for line in text.body.split("\n"))
            ended.set_result(self._notify(_inert(text.title), body, _TYPES[text.level]))
        except Exception as error:  # noqa: BLE001 - it is judged in the loop
            ended.set_exception(error)

    def _without_secrets(self, reason: str) -> str:
        words = " ".join(self._secrets.cut(reason).split()).rstrip(".")[:_LONGEST_REASON]
        return words or "the service did not take it"


def senders(addresses: Sequence[SecretStr]) -> list[Sender]:
    """Return the ways to these addresses.

    Raises:
        ConfigError: apprise does not know what an address means.
    """
    labels = [
        f"alerts.urls[{place}] ({address.get_secret_value().partition(_SCHEME_END)[0]})"
        for place, address in enumerate(addresses)
    ]
    if not addresses:
        return []
    lacks = extras.missing(extras.ALERTS)
    if lacks is None:
        try:
            import apprise  # noqa: PLC0415 - optional, and it takes a quarter of a second

            asset = apprise.AppriseAsset(
                app_id="voicekeeper",
                app_desc="voicekeeper",
                async_mode=False,  # in our thread, not in its own that would be joined at the end
                service_timeout=0,
                storage_mode="memory",
                http_redirects=False,  # one would take what the address holds to another host
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, voices are kept
            lacks = extras.broken(extras.ALERTS, f"{type(error).__name__}: {error}")
    if lacks is not None:
        return [Sender(label, lacks=lacks) for label in labels]
    # It tells its own story with what it knows of addresses; we tell ours without.
    logging.getLogger("apprise").propagate = False
    _restrain_requests()
    made, problems = [], []
    for label, address in zip(labels, addresses, strict=True):
        ways, lacks = _ways(apprise.Apprise(asset=asset), address)
        hidden = [*parts_of(address), *passwords_of(address), *passwords_of_proxies(os.environ)]
        for number, way in enumerate(ways, 1):
            of_many = f", recipient {number} of {len(ways)}" if len(ways) > 1 else ""
            notify = _notifier(apprise, way, asset)
            made.append(Sender(label + of_many, secrets=hidden, notify=notify))
        if lacks:
            made.append(Sender(label, lacks=lacks))
        elif not ways:
            problems.append(
                f"{label}: apprise does not know what this address means; "
                "see https://appriseit.com/services/ for its form"
            )
    if problems:
        raise ConfigError(problems)
    return made


def _ways(service: Any, address: SecretStr) -> tuple[list[Any], str | None]:  # noqa: ANN401 - optional
    """Return apprise's services for an address, or what is not there that one would need."""
    add = partial(service.add, address.get_secret_value())
    try:
        with warnings.catch_warnings():  # its modules' own, when it loads them
            warnings.simplefilter("ignore")
            ways = _recipients(service, add) if add() else []
        return ways, None if ways else _lack(service, address)
    except Exception as error:  # noqa: BLE001 - a library that one of its services loads
        return [], extras.broken(extras.ALERTS, type(error).__name__)


def _recipients(service: Any, add: Callable[[], object]) -> list[Any]:  # noqa: ANN401 - optional
    """Return apprise's services for an address that was added, one for each recipient.

    A service counts its recipients, and keeps them in lists of whatever name: those that make it
    count less when they are empty. One that sends to many by one call stays as it is.
    """

    def fresh(place: int) -> Any:  # noqa: ANN401 - optional
        service.clear()
        add()
        return list(service)[place]

    found = []
    for place in range(len(list(service))):
        lists = _lists(fresh(place))
        for name, one in [(name, one) for name, value in lists.items() for one in value]:
            single = fresh(place)
            vars(single).update({key: [one] if key == name else [] for key in lists})
            found.append(single)
        if not lists:
            found.append(fresh(place))
    return found


def _lists(service: Any) -> dict[str, list[Any]]:  # noqa: ANN401 - optional
    """Return the lists of a service's recipients by name; none where they cannot be told apart."""
    lists: dict[str, list[Any]] = {}
    count = len(service)
    for name, value in [*vars(service).items()]:
        if isinstance(value, list) and value:
            setattr(service, name, [])
            if len(service) < count:
                lists[name] = value
            setattr(service, name, value)
    tries = service.retry + 1
    is_whole = sum(map(len, lists.values())) * tries == count
    return lists if is_whole and service.service_name not in _MENTIONING else {}


def _restrain_requests() -> None:
    """Keep the library that apprise calls by from what it does by itself.

    It reads ``~/.netrc``, goes by a proxy to this host, and takes in an answer without an end.
    """
    response: Any = import_module("requests").Response
    if not hasattr(response.iter_content, "__wrapped__"):
        response.iter_content = _begun(response.iter_content)
    os.environ["NETRC"] = os.devnull
    spared = os.environ.get("no_proxy", os.environ.get("NO_PROXY", "")).strip()
    if spared != "*" and not spared.endswith(_THIS_HOST):
        os.environ["no_proxy"] = f"{spared},{_THIS_HOST}"


def _begun(pieces: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
    """Return what yields the pieces of an answer, up to a bound."""

    @wraps(pieces)
    def beginning(*args: object, **options: object) -> Iterator[bytes]:
        size = 0
        for piece in pieces(*args, **options):
            yield piece
            size += len(piece)
            if size > _ANSWER_MOST:
                return

    return beginning


def _inert(line: str) -> str:
    """Take from words what a service would read as a call to people, or as a link in disguise.

    What hides, moves or reorders other characters is spelled out.

    The gateway's words and the names of voices stand in messages, and either may be anybody's.
    """
    return _LINK.sub("] (", _CALL.sub(lambda found: _INERT[found[0]], visible(line)))


def lacking(senders: Sequence[Sender]) -> dict[str, str]:
    """Return why some can send nothing for now: for each reason, the labels of those."""
    reasons = dict.fromkeys(sender.lacks for sender in senders if sender.lacks is not None)
    return {
        reason: ", ".join(sender.label for sender in senders if sender.lacks == reason)
        for reason in reasons
    }


def _lack(service: Any, address: SecretStr) -> str | None:  # noqa: ANN401 - optional
    """Return which library apprise itself lacks for an address; None if that is not why."""
    scheme = address.get_secret_value().partition(_SCHEME_END)[0].lower()
    for known in service.details(show_requirements=True, show_disabled=True)["schemas"]:
        schemes = {*(known["protocols"] or ()), *(known["secure_protocols"] or ())}
        needed = known["requirements"]["packages_required"]
        if scheme in schemes and not known["enabled"] and needed:
            names = [name.replace(" ", "") for name in needed]
            return f"apprise needs {', '.join(names)} for it; {extras.mend(*names)}"
    return None


def _notifier(
    apprise: ModuleType,
    way: Any,  # noqa: ANN401 - optional
    asset: Any,  # noqa: ANN401 - optional
) -> Callable[[str, str, str], str | None]:
    service = apprise.Apprise(way, asset=asset)

    def notify(title: str, body: str, kind: str) -> str | None:
        result = service.notify(
            title=title, body=body, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
        )
        if result:
            return None
        return "; ".join(entry.message for entry in result.logs())

    return notify
