"""The settings: where they come from, what is refused and in which words."""

import os
import re
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from voicekeeper.config import DEFAULT_PATH, Address, Settings, load, policy_of
from voicekeeper.config.settings import keys
from voicekeeper.config.sources import INSTEAD
from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
SECRET = "sk-live-0123456789"


@pytest.fixture(autouse=True)
def _no_installed_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("voicekeeper.config.sources.DEFAULT_PATH", tmp_path / "installed.toml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def problems_of(file: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {})
    return list(caught.value.problems)


def value_of(settings: Settings, path: str) -> object:
    table, key = path.split(".")
    return getattr(getattr(settings, table), key)


def variable(path: str) -> str:
    return f"VOICEKEEPER_{path.replace('.', '__').upper()}"


def test_without_a_file_the_defaults_hold_and_the_example_file_is_exactly_these() -> None:
    assert load(None, {}) == load(EXAMPLE, {}) == Settings()


def test_the_example_file_shows_every_key_and_as_a_comment_those_that_have_no_default() -> None:
    text = re.sub(r"^# (\w+ = )", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    shown = {name: set(table) for name, table in tomllib.loads(text).items()}
    assert shown == {name: set(names) for name, names in keys().items()}


# where settings come from


def test_constructing_the_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEKEEPER_LOG__LEVEL", "debug")
    assert Settings().log.level == "info"


def test_the_installed_file_is_the_documented_one() -> None:
    assert Path("/etc/voicekeeper/config.toml") == DEFAULT_PATH


def test_the_environment_stands_over_the_file_key_by_key_where_it_is_not_empty(file: Path) -> None:
    file.write_text('[keepalive]\nprompt = "Hi."\ninterval = "1d"\n')
    environ = {"VOICEKEEPER_KEEPALIVE__INTERVAL": "2d", "VOICEKEEPER_KEEPALIVE__PROMPT": ""}
    settings = load(file, environ)
    assert settings.keepalive.interval == timedelta(days=2)
    assert settings.keepalive.prompt == "Hi."


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("upstream.max_in_flight", "16", 16),
        ("upstream.requests_per_second", "0.5", 0.5),
        ("upstream.api_key_file", '["/run/key"]', Path('["/run/key"]')),
        ("keepalive.prompt", "null", "null"),
        ("alerts.urls", "me://u:p  json://h", (SecretStr("me://u:p"), SecretStr("json://h"))),
        ("alerts.heartbeat_url", "https://hc/x", SecretStr("https://hc/x")),
        ("upstream.base_url", "http://127.0.0.9:8080/", "http://127.0.0.9:8080"),
        ("upstream.base_url", "http://[::1]:8080/v1//", "http://[::1]:8080/v1"),
        ("keepalive.prompt", "你好。\n再见。", "你好。\n再见。"),
        ("keepalive.prompt", "a" * 20_000, "a" * 20_000),
        ("daemon.keep_history", "forever", None),
        ("daemon.keep_history", "7d", timedelta(days=7)),
        ("daemon.tick", "1m", timedelta(minutes=1)),
        ("upstream.api_key_file", "/run/key", Path("/run/key")),
        ("upstream.base_url", "https://example.org/api/v1/", "https://example.org/api/v1"),
        ("database.url", "sqlite:///voices.db", SecretStr("sqlite:///voices.db")),
        ("web.listen", "192.0.2.1:65535", Address("192.0.2.1", 65_535)),
        ("web.hosts", "Voices.example.com. prometheus", ("voices.example.com", "prometheus")),
        ("web.hosts", f"{'a.' * 126}a.", (f"{'a.' * 126}a",)),
        ("webhook.listen", "[0:0::1]:1", Address("::1", 1)),
        ("webhook.public_url", "https://v.example.com/a/", "https://v.example.com/a"),
    ],
)
def test_a_variable_is_a_text_and_taken_up_to_the_edge_of_its_rule(
    path: str, text: str, value: object
) -> None:
    assert value_of(load(None, {variable(path): text}), path) == value


def test_the_option_stands_over_the_variable_and_that_over_the_installed_file(
    tmp_path: Path,
) -> None:
    for name in ("option", "variable", "installed"):
        (tmp_path / f"{name}.toml").write_text(f'[keepalive]\nprompt = "{name}"\n')
    environ = {"VOICEKEEPER_CONFIG": str(tmp_path / "variable.toml")}
    assert load(tmp_path / "option.toml", environ).keepalive.prompt == "option"
    assert load(None, environ).keepalive.prompt == "variable"
    assert load(None, {"VOICEKEEPER_CONFIG": ""}).keepalive.prompt == "installed"


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    for path, environ in ((missing, {}), (None, {"VOICEKEEPER_CONFIG": str(missing)})):
        with pytest.raises(ConfigError, match=r"missing\.toml:\n  there is no such file"):
            load(path, environ)


def test_a_file_that_cannot_be_read_is_no_reason_to_use_defaults(tmp_path: Path) -> None:
    (tmp_path / "installed.toml").symlink_to("installed.toml")
    with pytest.raises(ConfigError, match="the file cannot be read: too many levels"):
        load(None, {})
    with pytest.raises(ConfigError, match="this is a directory; name the file in it"):
        load(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"[log]\nlevel = @\n", "line 2, column 9: the file is not TOML: "),
        (b'[log]\nlevel = "info', "line 2: the file is not TOML: "),
        (b"[log]\n[log]\n", "line 2, column 5: the file is not TOML: cannot declare"),
        (b"a = " + b"[" * 20_000, "the file is not TOML: it nests too deeply"),
        (b"a = 1" + b"0" * 5_000, "the file is not TOML: "),
        (b'[keepalive]\nprompt = "caf\xe9"\n', "line 2: the file is not UTF-8 text"),
    ],
)
def test_what_is_not_toml_is_told_with_its_place(file: Path, text: bytes, problem: str) -> None:
    file.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    (told,) = caught.value.problems
    assert told.startswith(problem)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_settings_that_windows_wrote_are_read(file: Path, encoding: str) -> None:
    file.write_bytes('[log]\r\nlevel = "debug"\r\n'.encode(encoding))
    assert load(file, {}).log.level == "debug"


# what is refused

DURATIONS = [
    f"{table}.{key}"
    for table, values in Settings()._asdict().items()
    for key, value in values._asdict().items()
    if isinstance(value, timedelta)
]
FORM = "must be a duration such as 7d, 36h, 90m, 0.5s or 1d12h"


@pytest.mark.parametrize("path", DURATIONS)
def test_every_duration_has_a_unit(file: Path, path: str) -> None:
    table, key = path.split(".")
    problem = 'must be a duration in quotes with its unit, such as "30s", not 30'
    assert problems_of(file, f"[{table}]\n{key} = 30\n") == [f"{path}: {problem}"]


HTTPS = "must be an https URL such as https://api.apixo.ai/api/v1"
BARE = "must hold no user, password, query or fragment"
BARE_PATH = "must hold no user, password, query, fragment or brace"
SECURE = "must be https, since the API key is sent there; http only to loopback"
RATE = "must be a number above 0 and up to 10000"
WHOLE = "must be a whole number from 1 to 1024"
FOURTH = "must be sqlite:///PATH, with a fourth slash where PATH is absolute"
MEMORY = "must be sqlite:///PATH; a registry in memory would be lost with a restart"
DOLLARS = "must be US dollars from 0 to 1,000,000, to six places, such as 0.50"
ADDRESSES = 'must be a list of addresses such as "mailto://user:password@example.com"'
PINGED = "must be an http or https URL; leave it out if there is none"
HOSTS = 'must be a list of names without a port such as "voices.example.com"'
LISTEN = "must be an IP address and a port such as 127.0.0.1:9464 or [::1]:9464"
PUBLIC = "must be a public https URL such as https://voices.example.com/webhook"
SERVER = "must be postgresql+psycopg://USER@HOST/DATABASE"
ONLY = "must be sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE"


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("upstream.base_url", '"api.apixo.ai"', HTTPS),
        ("upstream.base_url", '"https://"', HTTPS),
        ("upstream.base_url", '"https://h:99999"', HTTPS),
        ("upstream.base_url", '"https://[::1"', HTTPS),
        ("upstream.base_url", '"https://a b"', HTTPS),
        ("upstream.base_url", '"https://h/\\n"', HTTPS),
        ("upstream.base_url", "5", "must be a text in quotes, not a number"),
        ("upstream.base_url", '"https://me:pw@h/"', BARE),
        ("upstream.base_url", '"https://h/?a=1"', BARE),
        ("upstream.base_url", '"https://h/#a"', BARE),
        ("upstream.base_url", '"http://api.apixo.ai/api/v1"', SECURE),
        ("upstream.base_url", '"http://10.0.0.1"', SECURE),
        ("upstream.model", '"../x"', "must be a model ID such as cosyvoice-3-flash"),
        ("retry.base", "1.5", 'must be a duration in quotes with its unit, such as "30s", not 1.5'),
        ("retry.base", '"30"', f"{FORM}, not '30'"),
        ("retry.base", '"-3d"', f"{FORM}, not '-3d'"),
        ("retry.base", '"99999999d"', "must be shorter than 100 years, not '99999999d'"),
        ("retry.base", "2026-05-01", "must be a text in quotes, not a date"),
        ("retry.base", '"0s"', "must be longer than 0s"),
        ("daemon.keep_history", '"0s"', 'must be longer than 0s, or "forever"'),
        ("upstream.timeout", '"61m"', "must be at most 1h, not 1h1m"),
        ("upstream.requests_per_second", "10001", f"{RATE}, not 10001"),
        ("upstream.requests_per_second", "nan", f"{RATE}, not nan"),
        ("upstream.requests_per_second", '"many"', RATE),
        ("upstream.requests_per_second", "true", RATE),
        ("upstream.requests_per_second", "1" + "0" * 400, RATE),
        ("upstream.max_in_flight", "1025", f"{WHOLE}, not 1025"),
        ("upstream.max_in_flight", "1.5", WHOLE),
        ("upstream.api_key_file", '" "', "must be the path of a file; leave it out if there is"),
        ("upstream.api_key_file", '"a\\u0000b"', "must be plain UTF-8 text"),
        ("database.url", '"sqlite://"', MEMORY),
        ("database.url", '"sqlite:///:memory:"', MEMORY),
        ("database.url", '"sqlite:///a.db?mode=memory"', "must be sqlite:///PATH without options"),
        ("database.url", '"sqlite:///var/lib/"', "must name a file, not a directory"),
        ("database.url", '"sqlite://a.db"', FOURTH),
        ("database.url", '"mysql://me:pw@h/d"', ONLY),
        ("database.url", '"postgresql://me:pw@h/d"', SERVER),
        ("database.url", '"postgresql+psycopg://me:pw@h"', SERVER),
        ("database.url", '"postgresql+psycopg://me:p w@h/d"', SERVER),
        ("database.url", '"postgresql+psycopg://me:pw@[h/d"', SERVER),
        ("database.url", '"postgresql+psycopg://me:pw@h/d#x"', SERVER),
        ("database.url", '"/var/lib/voicekeeper.db"', ONLY),
        ("budget.enrollments_usd_per_day", "[]", DOLLARS),
        ("budget.enrollments_usd_per_day", "-0.01", f"{DOLLARS}, not '-0.01'"),
        ("budget.enrollments_usd_per_day", "0.0000001", f"{DOLLARS}, not '1e-07'"),
        ("budget.enrollments_usd_per_day", "1000001", f"{DOLLARS}, not '1000001'"),
        ("budget.enrollments_usd_per_day", "nan", f"{DOLLARS}, not 'nan'"),
        ("budget.enrollments_usd_per_day", '"1e999999"', DOLLARS),
        ("budget.enrollments_usd_per_day", '"$5"', DOLLARS),
        ("keepalive.prompt", '" "', "must be 1 to 20000 characters and not blank"),
        ("keepalive.prompt", f'"{"a" * 20_001}"', "must be 1 to 20000 characters, not 20001"),
        ("keepalive.format", '"ogg"', "must be mp3, wav, pcm or opus, not 'ogg'"),
        ("log.level", '"INFO"', "must be debug, info, warning or error, not 'INFO'"),
        ("log.format", '"xml"', "must be auto, json or console, not 'xml'"),
        ("daemon.tick", '"2h"', "must be at most 1h, not 2h"),
        ("alerts.urls", '["json://h", "me:pw"]', f"{ADDRESSES}; number 2 is none"),
        ("alerts.urls", '["json://a b"]', f"{ADDRESSES}; number 1 is none"),
        ("alerts.urls", '"me:pw"', f"{ADDRESSES}; number 1 is none"),
        ("alerts.urls", "[5]", "must be a text in quotes, not a number"),
        ("alerts.heartbeat_url", '"me:pw"', PINGED),
        ("alerts.heartbeat_url", '"ftp://me:pw@h"', PINGED),
        ("alerts.heartbeat_url", '"https://[me:pw"', PINGED),
        ("web.hosts", '["voices.example.com", "voices.example.com:80"]', f"{HOSTS}; number 2"),
        ("web.hosts", '["*.example.com"]', f"{HOSTS}; number 1 is none"),
        ("web.hosts", '["a..b"]', f"{HOSTS}; number 1 is none"),
        ("web.hosts", f'["{"a." * 126}ab"]', f"{HOSTS}; number 1 is none"),
        ("web.listen", "9464", "must be a text in quotes, not a number"),
        ("web.listen", '"9464"', LISTEN),
        ("web.listen", '"127.0.0.1:0"', LISTEN),
        ("web.listen", '"127.0.0.1:65536"', LISTEN),
        ("web.listen", '"[127.0.0.1]:80"', LISTEN),
        ("web.listen", '"::1:80"', LISTEN),
        ("web.listen", '"localhost:80"', LISTEN),
        ("webhook.public_url", '"http://voices.example.com/webhook"', PUBLIC),
        ("webhook.public_url", '"https://127.0.0.1/webhook"', PUBLIC),
        ("webhook.public_url", '"https://[64:ff9b::7f00:1]/webhook"', PUBLIC),
        ("webhook.public_url", '"https://voices.internal/webhook"', PUBLIC),
        ("webhook.public_url", '"https://voices.example.com/a b"', PUBLIC),
        ("webhook.public_url", '"https://me:pw@voices.example.com/"', BARE_PATH),
        ("webhook.public_url", '"https://voices.example.com/?token=1"', BARE_PATH),
        ("webhook.public_url", '"https://voices.example.com/%7Btoken%7d"', BARE_PATH),
    ],
)
def test_a_value_that_cannot_work_is_refused_in_plain_words(
    file: Path, path: str, text: str, problem: str
) -> None:
    table, key = path.split(".")
    (told,) = problems_of(file, f"[{table}]\n{key} = {text}\n")
    assert told.startswith(f"{path}: {problem}")
    assert "me:pw" not in told


def test_a_text_that_no_wire_can_carry_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"keepalive\.prompt: must be plain UTF-8 text"):
        load(None, {"VOICEKEEPER_KEEPALIVE__PROMPT": "caf\udce9"})


@pytest.mark.parametrize(("text", "micros"), [("0", 0), ("0.000001", 1), ('"0.50"', 500_000)])
def test_a_budget_is_exact_to_the_micro(file: Path, text: str, micros: int) -> None:
    file.write_text(f"[budget]\nenrollments_usd_per_day = {text}\n")
    assert policy_of(load(file, {})).enrollments_per_day == micros
    assert policy_of(Settings()).enrollments_per_day is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[keepalive]\ninterval = "9d"',
            "keepalive.interval: must be shorter than the window (7d), not 9d",
        ),
        (
            '[keepalive]\ninterval = "4h"\njitter = "3h"',
            (
                "keepalive.jitter: must be at most half of the interval (2h), not 3h;"
                " left out, it fits itself"
            ),
        ),
        (
            '[daemon]\nkeep_history = "6d"',
            "daemon.keep_history: must be at least the window (7d), not 6d",
        ),
        (
            '[keepalive]\ninterval = "10s"',
            "daemon.tick: must be shorter than the keepalive interval (10s), not 10s",
        ),
        ('[retry]\nbase = "2h"', "retry.cap: must be at least the base (2h), not 1h"),
        (
            '[polling]\ngive_up = "29s"\nspeech_first = "1s"',
            (
                "polling.give_up: must be at least enrollment_first + enrollment_interval (30s),"
                " not 29s"
            ),
        ),
        (
            '[polling]\nspeech_interval = "1h"',
            "polling.give_up: must be at least speech_first + speech_interval (1h20s), not 1h",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    file: Path, text: str, problem: str
) -> None:
    assert problems_of(file, text) == [problem]


@pytest.mark.parametrize(
    ("interval", "jitter"), [("6d", "12h"), ("3d", "12h"), ("6h", "1h"), ("60s", "10s")]
)
def test_a_jitter_that_is_not_set_fits_the_interval(interval: str, jitter: str) -> None:
    settings = load(
        None, {"VOICEKEEPER_KEEPALIVE__INTERVAL": interval, "VOICEKEEPER_DAEMON__TICK": "1s"}
    )
    given = load(None, {"VOICEKEEPER_KEEPALIVE__JITTER": jitter})
    assert settings.keepalive.jitter == given.keepalive.jitter


# names that do not exist


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[keepalive]\nintervall = 1",
            "keepalive.intervall: is not a setting; did you mean keepalive.interval?",
        ),
        (
            "[keepalive]\ntick = 1",
            "keepalive.tick: is not a setting; did you mean daemon.tick?",
        ),
        (
            "[upstream]\nmax-in-flight = 1",
            "upstream.max-in-flight: is not a setting; did you mean upstream.max_in_flight?",
        ),
        ("[log]\nzebra = 1", "log.zebra: is not a setting"),
        ("[keepalve]\ninterval = 1", "keepalve: is not a table; did you mean keepalive?"),
        ('interval = "3d"', "interval: is not a table; did you mean keepalive.interval?"),
        ("zebra = 1", "zebra: is not a table"),
        ("retry = 1", "retry: must be a table of settings, written [retry]"),
    ],
)
def test_an_unknown_name_is_a_problem_with_a_guess(file: Path, text: str, problem: str) -> None:
    assert problems_of(file, text) == [problem]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("KEEPALIVE__INTERVALL", "keepalive.intervall: is not a setting; did you mean keepalive."),
        ("KEEPALVE__INTERVAL", "keepalve: is not a table; did you mean keepalive?"),
        ("LOG_LEVEL", "VOICEKEEPER_LOG_LEVEL: is not a setting; did you mean VOICEKEEPER_LOG__LE"),
        ("LOG", "VOICEKEEPER_LOG: is a whole table; set its keys one by one, as VOICEKEEPER_LOG__"),
        (
            "WEB__LISTEN",
            "web.listen: must be an IP address and a port such as 127.0.0.1:9464 or [::1",
        ),
        ("LOG__LEVEL__X", "log.level__x: is not a setting; did you mean log.level?"),
        ("RETRY__CAP", "retry.cap: must be a duration such as 7d, 36h, 90m, 0.5s or 1d12h, not "),
    ],
)
def test_a_wrong_variable_is_a_problem_that_names_it(name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match="1 problem in the environment") as caught:
        load(None, {f"VOICEKEEPER_{name}": "{"})
    (told,) = caught.value.problems
    assert told.startswith(problem)
    assert told.startswith("VOICEKEEPER_") or told.endswith(f" (set by $VOICEKEEPER_{name})")


def test_a_setting_that_is_gone_is_answered_with_what_to_do_instead(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recreate, archive = problems_of(file, "[recovery]\nrecreate = 1\narchive_sources = 1")
    assert recreate.endswith("is gone; make a lost voice again with 'voicekeeper retry NAME'")
    assert archive.startswith("recovery.archive_sources: is gone; keep the recordings")
    monkeypatch.setitem(INSTEAD, "log.colour", "set NO_COLOR")
    gone = "log.colour: is gone; set NO_COLOR"
    assert problems_of(file, "[log]\ncolour = 1") == [gone]
    (problem,) = problems_of(file, "", {"VOICEKEEPER_LOG__COLOUR": "2"})
    assert problem == f"{gone} (set by $VOICEKEEPER_LOG__COLOUR)"
    _, other = problems_of(file, "[recovery]\nrecreate = 1\nzebra = 1")
    assert other == "recovery.zebra: is not a setting"


def test_variables_of_others_are_no_problem() -> None:
    environ = {
        "VOICEKEEPER_API_KEY": SECRET,
        "VOICEKEEPER_PORT": "tcp://10.0.0.1:80",
        "VOICEKEEPER_SERVICE_HOST": "10.0.0.1",
        "HOME__X": "1",
    }
    settings = load(None, environ)
    assert settings == Settings()
    assert SECRET not in repr(settings)


def test_all_problems_are_told_at_once(file: Path) -> None:
    text = """
        zebra = 1
        [upstream]
        max_in_flight = 0
        [keepalive]
        interval = "9d"
        [retry]
        base = "x"
        cap = "1s"
    """
    told = problems_of(file, text, {"VOICEKEEPER_LOG__LEVEL": "loud"})
    assert [problem.partition(":")[0] for problem in told] == [
        *("zebra", "upstream.max_in_flight", "retry.base", "log.level", "keepalive.interval"),
    ]
    assert len(problems_of(file, '[keepalive]\ninterval = "x"\n')) == 1  # and its jitter none


@pytest.mark.parametrize("path", ["api_key", "upstream.api_key"])
def test_a_key_given_as_a_setting_is_refused_and_not_repeated(file: Path, path: str) -> None:
    table, _, key = path.rpartition(".")
    belongs = (
        f"{path}: the key belongs in the file that upstream.api_key_file names, the systemd"
        " credential apixo-api-key or $VOICEKEEPER_API_KEY, never here"
    )
    text = f'[{table}]\n{key} = "{SECRET}"' if table else f'{key} = "{SECRET}"'
    assert problems_of(file, text) == [belongs]


def test_a_key_given_as_a_setting_by_the_environment_is_refused_too(file: Path) -> None:
    (told,) = problems_of(file, "", {variable("upstream.api_key"): SECRET})
    assert told.startswith("upstream.api_key: the key belongs in the file that upstream.api_key_fi")
    assert told.endswith("(set by $VOICEKEEPER_UPSTREAM__API_KEY)")
    assert SECRET not in told


# paths


def test_a_relative_database_counts_from_the_folder_of_the_file_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "etc" / "config.toml"
    file.parent.mkdir()
    file.write_text('[database]\nurl = "sqlite:///voices.db"\n')
    for named in (file, Path("etc/config.toml")):
        assert load(named, {}).database_path == file.parent / "voices.db"
    environ = {"VOICEKEEPER_DATABASE__URL": "sqlite:///data/voices.db"}
    assert load(None, environ).database_path == Path("data/voices.db")
    assert load(file, environ).database_path == Path("data/voices.db")
    # that an earlier version made in the working directory is found there
    (tmp_path / "voices.db").touch()
    assert load(file, {}).database_path == tmp_path / "voices.db"
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match=r"must be a path in full, as .* is another user's"):
        load(file, {})
    (file.parent / "voices.db").touch()
    assert load(file, {}).database_path == file.parent / "voices.db"


def test_a_path_begins_at_home_where_no_shell_has_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "keeper.toml").write_text(
        '[database]\nurl = "sqlite:///~/voices.db"\n[upstream]\napi_key_file = "~/key"\n'
    )
    for settings in (
        load(Path("~/keeper.toml"), {}),
        load(None, {"VOICEKEEPER_CONFIG": "~/keeper.toml"}),
    ):
        assert settings.database_path == tmp_path / "voices.db"
        assert settings.upstream.api_key_file == tmp_path / "key"
    settings = load(None, {"VOICEKEEPER_DATABASE__URL": "sqlite:///a~/~/b"})
    assert settings.database_path == Path("a~/~/b")
