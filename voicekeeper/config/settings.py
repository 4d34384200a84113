"""The tables of the settings: every key, its type, its default, its rule, and rules between keys.

``Settings()`` is the defaults and reads nothing; `voicekeeper.config.load` reads. The API key
is not here, and addresses of messages are hidden, so a ``repr`` of the settings holds no secret.

Plain tuples, because every command waits for them: the first model of pydantic alone takes as long
as thirteen starts of an interpreter, `voicekeeper list` with all else that it needs takes five.
What each key means stands in ``config.example.toml``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from voicekeeper.config import values
from voicekeeper.core.duration import compact
from voicekeeper.core.secret import SecretStr

if TYPE_CHECKING:
    from voicekeeper.core.schedule import Policy

PREFIX: Final = "VOICEKEEPER_"
NESTED: Final = "__"

_SHORTEST_PASSWORD: Final = 6
"""Characters of a proxy's; a shorter one would be cut out of half of all log lines."""

_JITTER = timedelta(hours=12)
_FIXED = ("database.url", "webhook.public_url")

Span = Annotated[timedelta, values.span()]
UpToAnHour = Annotated[timedelta, values.span(most=timedelta(hours=1))]


class Upstream(NamedTuple):
    """The gateway and how hard it may be used; its URL has no slash at its end."""

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

    The window is the gateway's (page section *Latency and polling*: 7 days), which may change it.
    """

    window: Span = timedelta(days=7)
    interval: Span = timedelta(days=3)
    jitter: Annotated[timedelta, values.span(zero=True)] = _JITTER
    prompt: Annotated[str, values.prompt] = "Hello."
    format: Annotated[str, values.one_of("mp3", "wav", "pcm", "opus")] = "mp3"


class Budget(NamedTuple):
    """The most US dollars for clones and designs on a UTC day; None for no limit.

    Keepalives have no limit: a lost voice costs more.
    """

    enrollments_usd_per_day: Annotated[Decimal | None, values.dollars] = None


class Polling(NamedTuple):
    """When the gateway is asked how a task ended; after ``give_up`` without an end it failed."""

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
    """The scheduler: one pass each tick; ``keep_history`` is None for ever."""

    tick: UpToAnHour = timedelta(seconds=10)
    keep_history: Annotated[timedelta | None, values.span_or_forever] = timedelta(days=365)


class Alerts(NamedTuple):
    """Where messages go, as apprise writes addresses. They hold secrets; a ``repr`` shows none."""

    urls: Annotated[tuple[SecretStr, ...], values.addresses] = ()
    heartbeat_url: Annotated[SecretStr | None, values.web_address] = None


class Web(NamedTuple):
    """Where the page, the metrics and health are served, and by which names beside the usual."""

    listen: Annotated[values.Address | None, values.address] = None
    hosts: Annotated[tuple[str, ...], values.host_names] = ()


class Webhook(NamedTuple):
    """How the gateway reports that an enrollment has ended; without a URL it is only asked."""

    public_url: Annotated[str | None, values.public_url] = None
    listen: Annotated[values.Address, values.address] = values.Address("127.0.0.1", 8470)


class Log(NamedTuple):
    """From which level on lines are written, and in which form."""

    level: Annotated[str, values.one_of("debug", "info", "warning", "error")] = "info"
    format: Annotated[str, values.one_of("auto", "json", "console")] = "auto"


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
        """The file of the registry; None where a server has it.

        A relative one counts from the working directory; one that a file of settings names is
        absolute: see `load`.
        """
        url = self.database.url.get_secret_value()
        return Path(url.removeprefix(values.SQLITE)) if url.startswith(values.SQLITE) else None

    def secrets(self, environ: Mapping[str, str]) -> list[SecretStr]:
        """Return what no log line may hold of these settings and of the environment's proxies."""
        from voicekeeper.core import secrecy  # noqa: PLC0415 - commands that only read skip it

        pinged = self.alerts.heartbeat_url
        addresses = [*self.alerts.urls, *([] if pinged is None else [pinged])]
        hidden = [part for address in addresses for part in secrecy.parts_of(address)]
        hidden += secrecy.passwords_of_proxies(environ, shortest=_SHORTEST_PASSWORD)
        password = urlsplit(self.database.url.get_secret_value()).password
        return [*hidden, SecretStr(unquote(password))] if password else hidden


def keys() -> dict[str, tuple[str, ...]]:
    """Return the names of every table and of its keys, in the order of the example file."""
    return {name: table._fields for name, table in Settings()._asdict().items()}


def rule(table: str, key: str) -> Callable[[object], Any]:
    """Return the function that reads a value that was written for a key.

    It raises ValueError with the rest of a sentence whose subject is the key's path.
    """
    read: Callable[[object], Any] = (
        Settings.__annotations__[table].__annotations__[key].__metadata__[0]
    )
    return read


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

    The process holds the database, has bound the addresses it listens on, and gave enrollments
    that are under way the address to call back.
    """
    return tuple(
        f"{path}: cannot change while the daemon runs; restart it, or put the old value back"
        for path in paths
        if path in _FIXED or path.endswith(".listen")
    )


def policy_of(settings: Settings) -> "Policy":
    """Return the settings that the rules need."""
    from voicekeeper.core.schedule import Policy  # noqa: PLC0415 - `resolve` does without

    upstream, retry = settings.upstream, settings.retry
    most = settings.budget.enrollments_usd_per_day
    return Policy(
        **settings.keepalive._asdict(),
        **settings.polling._asdict(),
        retry_base=retry.base,
        retry_cap=retry.cap,
        timeout=upstream.timeout,
        requests_per_second=upstream.requests_per_second,
        max_in_flight=upstream.max_in_flight,
        enrollments_per_day=None if most is None else int(most * 1_000_000),
        notifies=bool(settings.alerts.urls),
        tick=settings.daemon.tick,
        keep_history=settings.daemon.keep_history,
    )


def fitted(keepalive: Keepalive) -> Keepalive:
    """Return the table with a default jitter that fits its interval, which may be short."""
    return keepalive._replace(jitter=min(_JITTER, keepalive.interval / 6))


def contradictions(settings: Settings) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield every broken rule between two or more settings.

    Each is the setting to change, those it is measured against, all as dotted paths, and the rest
    of the sentence that begins with the first.
    """
    window, interval = settings.keepalive.window, settings.keepalive.interval
    jitter, kept = settings.keepalive.jitter, settings.daemon.keep_history
    polling, retry, tick = settings.polling, settings.retry, settings.daemon.tick
    if interval >= window:
        bound = f"shorter than the window ({compact(window)})"
        yield "keepalive.interval", ("keepalive.window",), _must_be(bound, interval)
    if jitter > interval / 2:
        bound = f"at most half of the interval ({compact(interval / 2)})"
        sentence = f"{_must_be(bound, jitter)}; left out, it fits itself"
        yield "keepalive.jitter", ("keepalive.interval",), sentence
    if tick >= interval:
        bound = f"shorter than the keepalive interval ({compact(interval)})"
        yield "daemon.tick", ("keepalive.interval",), _must_be(bound, tick)
    if kept is not None and kept < window:
        bound = f"at least the window ({compact(window)})"
        yield "daemon.keep_history", ("keepalive.window",), _must_be(bound, kept)
    if retry.cap < retry.base:
        bound = f"at least the base ({compact(retry.base)})"
        yield "retry.cap", ("retry.base",), _must_be(bound, retry.cap)
    for kind, first, between in (
        ("speech", polling.speech_first, polling.speech_interval),
        ("enrollment", polling.enrollment_first, polling.enrollment_interval),
    ):
        if polling.give_up < first + between:
            bound = f"at least {kind}_first + {kind}_interval ({compact(first + between)})"
            others = (f"polling.{kind}_first", f"polling.{kind}_interval")
            yield "polling.give_up", others, _must_be(bound, polling.give_up)


def _must_be(bound: str, value: timedelta) -> str:
    return f"must be {bound}, not {compact(value)}"
