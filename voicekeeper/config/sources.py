"""Reading the settings: the TOML file, the environment over it, and every problem at once.

An unknown table or key is a problem, not a shrug: a mistyped ``intervall`` that is ignored for
a year loses voices. Two settings that contradict each other are reported even when a third one is
wrong, and values are never repeated where a secret may have been pasted by mistake.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from voicekeeper.config.settings import NESTED, PREFIX, Settings, contradictions, fitted, keys, rule
from voicekeeper.config.values import SQLITE, at_home
from voicekeeper.core.secret import SecretStr
from voicekeeper.core.visible import decoded
from voicekeeper.errors import ConfigError, quoted, reason

DEFAULT_PATH = Path("/etc/voicekeeper/config.toml")

INSTEAD: Final[dict[str, str]] = {
    "recovery.recreate": "make a lost voice again with 'voicekeeper retry NAME'",
    "recovery.archive_sources": (
        "keep the recordings that you clone from, and save the preview of a new voice by 'clone', "
        "'design' or 'retry' with --wait --save-preview FILE"
    ),
}
"""What to do instead of each setting of earlier versions that is gone, by dotted path."""

_NOT_SETTINGS = frozenset({"VOICEKEEPER_CONFIG", "VOICEKEEPER_API_KEY"})
_NAMES_OF_THE_KEY = frozenset({"apikey", "apixoapikey", "apixokey"})
_KEY_BELONGS = (
    "the key belongs in the file that upstream.api_key_file names, the systemd credential"
    " apixo-api-key or $VOICEKEEPER_API_KEY, never here"
)
_PATH_MOST = 100
_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


class Places(NamedTuple):
    """Where the settings of a process stand; the variables have the last word."""

    file: Path | None
    variables: tuple[str, ...]


def places(path: Path | None, environ: Mapping[str, str]) -> Places:
    """Return where `load` finds the settings, given the same."""
    file, is_named = _file(path, environ)
    return Places(file if is_named or file.exists() else None, tuple(_variables(environ)))


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the settings of this process.

    Args:
        path: the file that ``--config`` names; None to look in ``$VOICEKEEPER_CONFIG`` and
            then in /etc/voicekeeper/config.toml, which alone need not exist.
        environ: the environment. An empty variable counts as not set.

    Raises:
        ConfigError: the file cannot be read or is not TOML, or any settings are wrong; all
            the problems of all the settings are in it.
    """
    file, is_named = _file(path, environ)
    written = _read(file, must_exist=is_named)
    values = written or {}
    origins = _overlay(values, environ)
    unknown = [_problem(path, words, origins) for path, words in _unknown_names(values)]
    settings, wrong = _validate(values)
    if written is not None and "database.url" not in origins:
        settings = _placed(settings, file.absolute().parent)
    wrong |= {
        path: words
        for path, others, words in contradictions(settings)
        if wrong.keys().isdisjoint((path, *others))
    }
    problems = [_problem(path, words, origins) for path, words in wrong.items()]
    if problems := [*_misnamed_variables(environ), *unknown, *problems]:
        raise ConfigError(problems, "the environment" if written is None else str(file))
    return settings


def _file(path: Path | None, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """Return the file to read, and whether somebody named it."""
    named = path or environ.get("VOICEKEEPER_CONFIG") or None
    return DEFAULT_PATH if named is None else at_home(named), named is not None


def _variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the variables that are settings; an empty one counts as not set."""
    for name, text in environ.items():
        prefix, rest = name[: len(PREFIX)].upper(), name[len(PREFIX) :]
        if prefix == PREFIX and NESTED in rest and text:
            yield name


def _read(file: Path, *, must_exist: bool) -> dict[str, Any] | None:
    """Read the file; None when it does not exist and need not."""
    text = ""
    try:
        text = decoded(file.read_bytes())
        return tomllib.loads(text)
    except FileNotFoundError:
        if not must_exist:
            return None
        problem = "there is no such file"
    except IsADirectoryError:
        problem = "this is a directory; name the file in it"
    except OSError as error:
        problem = f"the file cannot be read: {reason(error)}"
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = f"line {line}: the file is not UTF-8 text"
    except RecursionError:
        problem = "the file is not TOML: it nests too deeply"
    except ValueError as error:
        problem = _syntax_problem(str(error), text)
    raise ConfigError([problem], str(file)) from None


def _syntax_problem(message: str, text: str) -> str:
    """Put the place of a syntax error first, where an editor's user looks for it."""
    if not (match := _POSITION.fullmatch(message)):
        return f"the file is not TOML: {message}"
    what, line, column = match.groups()
    place = f"line {line}, column {column}" if line else f"line {len(text.splitlines()) or 1}"
    return f"{place}: the file is not TOML: {what[:1].lower()}{what[1:]}"


def _overlay(values: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Lay the environment's settings over the file's; return which variable set which path."""
    origins: dict[str, str] = {}
    for name in _variables(environ):
        table, _, key = name.upper().removeprefix(PREFIX).lower().partition(NESTED)
        origins[f"{table}.{key}"] = name
        below = values.setdefault(table, {})
        if table not in keys():
            origins[table] = name
        if isinstance(below, dict):
            below[key] = environ[name]
    return origins


def _misnamed_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a problem for each variable that is nearly a setting.

    No others: under Kubernetes, a service named voicekeeper gives every container variables such
    as ``VOICEKEEPER_PORT``, which are none of our business.
    """
    single = {f"{table}_{key}": (table, key) for table, names in keys().items() for key in names}
    for name in sorted(environ):
        rest = name.removeprefix(PREFIX).lower()
        if not name.startswith(PREFIX) or name in _NOT_SETTINGS:
            continue
        if rest in single:
            wanted = PREFIX + NESTED.join(single[rest]).upper()
            yield f"{name}: is not a setting; did you mean {wanted}?"
        elif rest in keys():
            yield f"{name}: is a whole table; set its keys one by one, as {name}{NESTED}KEY"


def _unknown_names(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the dotted path of each name that is no table or setting, and its problem."""
    for table, given in values.items():
        names = list(given) if isinstance(given, dict) else []
        known = keys().get(table)
        if known is None and not any(f"{table}.{name}" in INSTEAD for name in names):
            yield table, _unknown(table)
            continue
        for name in names:
            if name not in (known or ()):
                yield f"{table}.{name}", _unknown(f"{table}.{name}")


def _unknown(path: str) -> str:
    *table, name = path.split(".", 1)
    if re.sub(r"[^a-z]", "", name.lower()) in _NAMES_OF_THE_KEY:
        return _KEY_BELONGS
    if path in INSTEAD:
        return f"is gone; {INSTEAD[path]}"
    import difflib  # noqa: PLC0415 - right settings do without

    names = keys().get(table[0], ()) if table else tuple(keys())
    near = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=1)
    near = [".".join([*table, each]) for each in near]
    near += [f"{other}.{name}" for other, names in keys().items() if name in names]
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"is not a {'setting' if table else 'table'}{hint}"


def _validate(values: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
    """Return the settings, defaults where a value is wrong, and the problems by path."""
    tables: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, default in Settings()._asdict().items():
        given, read = values.get(name, {}), {}
        if not isinstance(given, dict):
            wrong[name] = f"must be a table of settings, written [{name}]"
            continue
        for key in default._fields:
            if key in given:
                try:
                    read[key] = rule(name, key)(given[key])
                except ValueError as error:
                    wrong[f"{name}.{key}"] = str(error)
        table = default._replace(**read)
        tables[name] = fitted(table) if name == "keepalive" and "jitter" not in read else table
    return Settings(**tables), wrong


def _placed(settings: Settings, folder: Path) -> Settings:
    """Take the path of the registry from the folder of the file that names it.

    Earlier versions took it from the working directory: a registry of ours that is there alone is
    meant. Another's may have been put in root's way.

    Raises:
        ConfigError: there is such a one.
    """
    path = settings.database_path
    if path is None:
        return settings
    placed = folder / path
    if not os.path.exists(placed) and os.path.exists(path):  # noqa: PTH110 - pathlib's may raise
        placed = path.absolute()
        if placed.stat().st_uid != os.geteuid():
            problem = f"must be a path in full, as {placed} is another user's"
            raise ConfigError([f"database.url: {problem}"])
    url = SecretStr(f"{SQLITE}{placed}")
    return settings._replace(database=settings.database._replace(url=url))


def _problem(path: str, words: str, origins: Mapping[str, str]) -> str:
    """Write one problem, with the variable to look at when it does not stand in the file."""
    shown = path if path.isprintable() and len(path) <= _PATH_MOST else quoted(path)
    return f"{shown}: {words}" + (f" (set by ${origins[path]})" if path in origins else "")
