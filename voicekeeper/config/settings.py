"""The tables of the settings: every key, its type, its default, its rule, and rules between keys.

``Settings()`` is the defaults and reads nothing; `voicekeeper.config.load` reads. The API key
is not here, and addresses of messages are hidden, so a ``repr`` of the settings, or a dump of
them, holds no secret.

Plain tuples, because every command waits for them and refuses wrong ones: the first model of
pydantic alone takes as long as thirteen starts of an interpreter, `voicekeeper list` with all else
that it needs takes nine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from voicekeeper.config import values
from voicekeeper.core.duration import compact
from voicekeeper.core.secret import SecretStr

PREFIX: Final = "VOICEKEEPER_"
NESTED: Final = "__"

_SHORTEST_PASSWORD: Final = 6
"""Characters of a proxy's; a shorter one would be cut out of half of all log lines."""

_HOUR = timedelta(hours=1)
_JITTER = timedelta(hours=12)
_FIXED = ("database.url", "webhook.public_url")

Span = Annotated[timedelta, values.span()]
UpToAnHour = Annotated[timedelta, values.span(most=_HOUR)]


class Upstream(NamedTuple):
    """The gateway and how hard it may be used.

    Attributes:
        base_url: http or https, without a slash at its end.
        api_key_file: where the API key stands; None to look elsewhere.
        timeout: of each wait in a call: for a connection (10 s at most), for an answer.
        requests_per_second: over all calls, polls included.
        max_in_flight: calls under way at once.
    """

    base_url: Annotated[str, values.base_url] = "https://api.apixo.ai/api/v1"
    api_key_file: Annotated[Path | None, values.file_path] = None
    model: Annotated[str, values.model] = "cosyvoice-3-flash"
    timeout: UpToAnHour = timedelta(seconds=30)
    requests_per_second: Annotated[float, values.rate] = 5.0
    max_in_flight: Annotated[int, values.in_flight] = 8


class Database(NamedTuple):
    """Where the registry lives. The address may hold a password, so a ``repr`` shows none."""

    url: Annotated[SecretStr, values.database_url] = SecretStr(
        "sqlite:////var/lib/voicekeeper/voicekeeper.db"
    )


class Keepalive(NamedTuple):
    """When and with what a voice is used.

    Attributes:
        window: how long after its last use the gateway deletes a voice (page section *Latency
            and polling*: 7 days). Configuration, because the gateway may change it.
        interval: how long after its last use a voice is used again.
        jitter: at most how much earlier than that, so that a fleet spreads out; when it is not
            set, 12 hours or a sixth of the interval, whichever is shorter.
    """

    window: Span = timedelta(days=7)
    interval: Span = timedelta(days=3)
    jitter: Annotated[timedelta, values.span(zero=True)] = _JITTER
    prompt: Annotated[str, values.prompt] = "Hello."
    format: Annotated[
        Literal["mp3", "wav", "pcm", "opus"], values.one_of("mp3", "wav", "pcm", "opus")
    ] = "mp3"


class Budget(NamedTuple):
    """What may be spent.

    Attributes:
        enrollments_usd_per_day: the most US dollars for clones and designs on a UTC day; None
            for no limit. Keepalives have none: a lost voice costs more.
    """

    enrollments_usd_per_day: Annotated[Decimal | None, values.dollars] = None


class Polling(NamedTuple):
    """When the gateway is asked how a task ended.

    Attributes:
        give_up: after how long a task without an end counts as failed.
    """

    speech_first: Span = timedelta(seconds=20)
    speech_interval: Span = timedelta(seconds=10)
    enrollment_first: Span = timedelta(seconds=20)
    enrollment_interval: Span = timedelta(seconds=10)
    give_up: Span = timedelta(hours=1)


class Retry(NamedTuple):
    """The backoff after a failure: base, twice the base, and so on up to the cap."""

    base: Span = timedelta(seconds=30)
    cap: Span = timedelta(hours=1)


class Daemon(NamedTuple):
    """The scheduler: one pass each tick.

    Attributes:
        keep_history: how long it is kept what happened; None for ever.
    """

    tick: UpToAnHour = timedelta(seconds=10)
    keep_history: Annotated[timedelta | None, values.span_or_forever] = timedelta(days=365)


class Alerts(NamedTuple):
    """Who is told what needs a person. Addresses hold secrets, so a ``repr`` shows none.

    Attributes:
        urls: where messages go, as apprise writes addresses.
        heartbeat_url: asked for at a pace while voices are kept in time.
    """

    urls: Annotated[tuple[SecretStr, ...], values.addresses] = ()
    heartbeat_url: Annotated[SecretStr | None, values.web_address] = None


class Web(NamedTuple):
    """What is shown of the fleet, to people and to Prometheus.

    Attributes:
        listen: where ``/``, ``/healthz``, ``/readyz`` and ``/metrics`` are served; None for
            nowhere.
        hosts: the names by which they may be asked for, beside IP addresses, names without a dot
            and this host's own; else a stranger's name could be made to lead there.
    """

    listen: Annotated[values.Address | None, values.address] = None
    hosts: Annotated[tuple[str, ...], values.host_names] = ()


class Webhook(NamedTuple):
    """How the gateway tells that an enrollment has ended, sooner than by being asked.

    Attributes:
        public_url: how the gateway reaches this host from outside; None to ask only.
        listen: where what comes in there is handed on to; may be the address of ``web.listen``.
    """

    public_url: Annotated[str | None, values.public_url] = None
    listen: Annotated[values.Address, values.address] = values.Address("127.0.0.1", 8470)


class Log(NamedTuple):
    """What the log tells, and in which form."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        values.one_of("debug", "info", "warning", "error"),
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "console"], values.one_of("auto", "json", "console")
    ] = "auto"


class Settings(NamedTuple):
    """Every setting of one process."""

    upstream: Upstream = Upstream()
    database: Database = Database()
    keepalive: Keepalive = Keepalive()
    budget: Budget = Budget()
    polling: Polling = Polling()
    retry: Retry = Retry()
    daemon: Daemon = Daemon()
    alerts: Alerts = Alerts()
    web: Web = Web()
    webhook: Webhook = Webhook()
    log: Log = Log()

    @property
    def database_path(self) -> Path | None:
        """The file of the registry; a relative one counts from the working directory.

        One that a file of settings names is absolute: see `load`. None where a server has it.
        """
        url = self.database.url.get_secret_value()
        if not url.startswith(values.SQLITE):
            return None
        return Path(url.removeprefix(values.SQLITE))

    def secrets(self, environ: Mapping[str, str]) -> list[SecretStr]:
        """Return what no log line may hold of these settings and of the environment's proxies."""
        from voicekeeper.core import secrecy  # noqa: PLC0415 - what only reads does without

        pinged = self.alerts.heartbeat_url
        addresses = [*self.alerts.urls, *([] if pinged is None else [pinged])]
        hidden = [part for address in addresses for part in secrecy.parts_of(address)]
        hidden += secrecy.passwords_of_proxies(environ, shortest=_SHORTEST_PASSWORD)
        password = urlsplit(self.database.url.get_secret_value()).password
        return [*hidden, SecretStr(unquote(password))] if password else hidden


def keys() -> dict[str, tuple[str, ...]]:
    """Return the names of every table and of its keys, in the order of the example file."""
    return {name: table._fields for name, table in Settings()._asdict().items()}


def changed(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the dotted paths of the settings that differ, in the order of the example file."""
    return tuple(
        f"{table}.{key}"
        for table, names in keys().items()
        for key in names
        if getattr(getattr(old, table), key) != getattr(getattr(new, table), key)
    )


def unchangeable(paths: Sequence[str]) -> tuple[str, ...]:
    """Return a problem for each of these settings that only a restart can change.

    The database is held by the process, an address to listen on is bound by it, and enrollments
    under way are told of where they were told to.
    """
    return tuple(
        f"{path}: cannot change while the daemon runs; restart it, or put the old value back"
        for path in paths
        if path in _FIXED or path.endswith(".listen")
    )


def rule(table: str, key: str) -> Callable[[object], Any]:
    """Return what reads a value that was written for a key.

    It raises ValueError with the rest of a sentence whose subject is the key's path.
    """
    read: Callable[[object], Any] = (
        Settings.__annotations__[table].__annotations__[key].__metadata__[0]
    )
    return read


def fitted(keepalive: Keepalive) -> Keepalive:
    """Return what a jitter that is not set makes of the table: an interval may be too short."""
    return keepalive._replace(jitter=min(_JITTER, keepalive.interval / 6))


class Contradiction(NamedTuple):
    """One rule between settings that is broken.

    Attributes:
        path: the setting to change, dotted.
        others: the settings it is measured against.
        sentence: the rest of the sentence that begins with the path.
    """

    path: str
    others: tuple[str, ...]
    sentence: str


def contradictions(settings: Settings) -> Iterator[Contradiction]:
    """Yield every broken rule between two or more settings."""
    keepalive, polling, retry = settings.keepalive, settings.polling, settings.retry
    interval, jitter, tick = keepalive.interval, keepalive.jitter, settings.daemon.tick
    if interval >= keepalive.window:
        yield Contradiction(
            "keepalive.interval",
            ("keepalive.window",),
            f"must be shorter than the window ({compact(keepalive.window)}),"
            f" not {compact(interval)}",
        )
    if jitter > interval / 2:
        yield Contradiction(
            "keepalive.jitter",
            ("keepalive.interval",),
            f"must be at most half of the interval ({compact(interval / 2)}),"
            f" not {compact(jitter)}; left out, it fits itself",
        )
    if tick >= interval:
        yield Contradiction(
            "daemon.tick",
            ("keepalive.interval",),
            f"must be shorter than the keepalive interval ({compact(interval)}),"
            f" not {compact(tick)}",
        )
    keeps = settings.daemon.keep_history
    if keeps is not None and keeps < keepalive.window:
        yield Contradiction(
            "daemon.keep_history",
            ("keepalive.window",),
            f"must be at least the window ({compact(keepalive.window)}), not {compact(keeps)}",
        )
    if retry.cap < retry.base:
        yield Contradiction(
            "retry.cap",
            ("retry.base",),
            f"must be at least the base ({compact(retry.base)}), not {compact(retry.cap)}",
        )
    for kind, second_poll in (
        ("speech", polling.speech_first + polling.speech_interval),
        ("enrollment", polling.enrollment_first + polling.enrollment_interval),
    ):
        if polling.give_up < second_poll:
            yield Contradiction(
                "polling.give_up",
                (f"polling.{kind}_first", f"polling.{kind}_interval"),
                f"must be at least {kind}_first + {kind}_interval ({compact(second_poll)}),"
                f" not {compact(polling.give_up)}",
            )
