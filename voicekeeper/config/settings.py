"""The tables of the settings: every key, its type, its default and its rule.

``Settings()`` is the defaults and reads nothing; `voicekeeper.config.load` reads. The API key
is not here, and addresses of messages are hidden, so a ``repr`` of the settings, or a dump of
them, holds no secret.
"""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, SecretStr
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from voicekeeper.config import values

PREFIX: Final = "VOICEKEEPER_"
NESTED: Final = "__"

_HOUR = timedelta(hours=1)
_JITTER = timedelta(hours=12)

Span = Annotated[timedelta, PlainValidator(values.span())]
UpToAnHour = Annotated[timedelta, PlainValidator(values.span(most=_HOUR))]
SpanOrZero = Annotated[timedelta, PlainValidator(values.span(zero=True))]
Url = Annotated[str, PlainValidator(values.base_url)]
Model = Annotated[str, PlainValidator(values.model)]
Rate = Annotated[float, PlainValidator(values.rate)]
InFlight = Annotated[int, PlainValidator(values.in_flight)]
FilePath = Annotated[Path | None, PlainValidator(values.file_path)]
DatabaseUrl = Annotated[SecretStr, PlainValidator(values.database_url)]
Amount = Annotated[Decimal | None, PlainValidator(values.dollars)]
Address = Annotated[values.Address, PlainValidator(values.address), NoDecode]
HostNames = Annotated[tuple[str, ...], NoDecode, PlainValidator(values.host_names)]
PublicUrl = Annotated[str | None, PlainValidator(values.public_url)]
Prompt = Annotated[str, PlainValidator(values.prompt)]
AudioFormat = Annotated[
    Literal["mp3", "wav", "pcm", "opus"],
    PlainValidator(values.one_of(("mp3", "wav", "pcm", "opus"))),
]
Level = Annotated[
    Literal["debug", "info", "warning", "error"],
    PlainValidator(values.one_of(("debug", "info", "warning", "error"))),
]
Addresses = Annotated[tuple[SecretStr, ...], NoDecode, PlainValidator(values.addresses)]
WebAddress = Annotated[SecretStr | None, PlainValidator(values.web_address)]
LogFormat = Annotated[
    Literal["auto", "json", "console"], PlainValidator(values.one_of(("auto", "json", "console")))
]


Recreate = Annotated[
    Literal["never", "clones", "all"],
    PlainValidator(values.one_of(("never", "clones", "all"))),
]
YesOrNo = Annotated[bool, PlainValidator(values.yes_or_no)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Upstream(_Table):
    """The gateway and how hard it may be used.

    Attributes:
        base_url: http or https, without a slash at its end.
        api_key_file: where the API key stands; None to look elsewhere.
        timeout: of each wait in a call: for a connection (10 s at most), for an answer.
        requests_per_second: over all calls, polls included.
        max_in_flight: calls under way at once.
    """

    base_url: Url = "https://api.apixo.ai/api/v1"
    api_key_file: FilePath = None
    model: Model = "cosyvoice-3-flash"
    timeout: UpToAnHour = timedelta(seconds=30)
    requests_per_second: Rate = 5.0
    max_in_flight: InFlight = 8


class Database(_Table):
    """Where the registry lives. The address may hold a password, so a ``repr`` shows none."""

    url: DatabaseUrl = SecretStr("sqlite:////var/lib/voicekeeper/voicekeeper.db")


def _fitting_jitter(known: dict[str, Any]) -> timedelta:
    """Return 12 hours, or a sixth of an interval too short for that."""
    interval: timedelta = known["interval"]
    return min(_JITTER, interval / 6)


class Keepalive(_Table):
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
    jitter: SpanOrZero = Field(default_factory=_fitting_jitter)
    prompt: Prompt = "Hello."
    format: AudioFormat = "mp3"


class Budget(_Table):
    """What may be spent.

    Attributes:
        enrollments_usd_per_day: the most US dollars for clones and designs on a UTC day; None
            for no limit. Keepalives have none: a lost voice costs more.
    """

    enrollments_usd_per_day: Amount = None


class Recovery(_Table):
    """What is done for voices that are lost.

    Attributes:
        recreate: which of them are made again, once per loss and within the budget.
        archive_sources: whether the recordings that clones are made from are kept too.
    """

    recreate: Recreate = "never"
    archive_sources: YesOrNo = False


class Polling(_Table):
    """When the gateway is asked how a task ended.

    Attributes:
        give_up: after how long a task without an end counts as failed.
    """

    speech_first: Span = timedelta(seconds=20)
    speech_interval: Span = timedelta(seconds=10)
    enrollment_first: Span = timedelta(seconds=20)
    enrollment_interval: Span = timedelta(seconds=10)
    give_up: Span = timedelta(hours=1)


class Retry(_Table):
    """The backoff after a failure: base, twice the base, and so on up to the cap."""

    base: Span = timedelta(seconds=30)
    cap: Span = timedelta(hours=1)


class Daemon(_Table):
    """The scheduler: one pass each tick."""

    tick: UpToAnHour = timedelta(seconds=10)


class Alerts(_Table):
    """Who is told what needs a person. Addresses hold secrets, so a ``repr`` shows none.

    Attributes:
        urls: where messages go, as apprise writes addresses.
        heartbeat_url: asked for at a pace while voices are kept in time.
    """

    urls: Addresses = ()
    heartbeat_url: WebAddress = None


class Web(_Table):
    """What is shown of the fleet, to people and to Prometheus.

    Attributes:
        listen: where ``/``, ``/healthz``, ``/readyz`` and ``/metrics`` are served; None for
            nowhere.
        hosts: the names by which they may be asked for, beside IP addresses, names without a dot
            and this host's own; else a stranger's name could be made to lead there.
    """

    listen: Address | None = None
    hosts: HostNames = ()


class Webhook(_Table):
    """How the gateway tells that an enrollment has ended, sooner than by being asked.

    Attributes:
        public_url: how the gateway reaches this host from outside; None to ask only.
        listen: where what comes in there is handed on to; may be the address of ``web.listen``.
    """

    public_url: PublicUrl = None
    listen: Address = values.Address("127.0.0.1", 8470)


class Log(_Table):
    """What the log tells, and in which form."""

    level: Level = "info"
    format: LogFormat = "auto"


class Settings(BaseSettings):
    """Every setting of one process; immutable."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    upstream: Upstream = Upstream()
    database: Database = Database()
    keepalive: Keepalive = Keepalive()
    budget: Budget = Budget()
    recovery: Recovery = Recovery()
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

        None where a server has it.
        """
        url = self.database.url.get_secret_value()
        if not url.startswith(values.SQLITE):
            return None
        return Path(url.removeprefix(values.SQLITE))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what is handed in: `load` names its sources, and tests have none."""
        return (init_settings,)


def keys() -> dict[str, tuple[str, ...]]:
    """Return the names of every table and of its keys, in the order of the example file."""
    tables = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {
        name: tuple(table.model_fields)
        for name, table in tables.items()
        if isinstance(table, type) and issubclass(table, BaseModel)
    }
