"""Finding the API key, which is never a setting, a log line, an argument or a row.

It comes from a file, so that a service manager can hand it over and no process list shows it;
the environment is the last resort, for containers. No sentence here repeats what was found:
half of a mistyped key is still half of a key.
"""

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from voicekeeper.config.settings import Settings
from voicekeeper.config.sources import DEFAULT_PATH
from voicekeeper.core.secret import SecretStr
from voicekeeper.core.visible import decoded
from voicekeeper.errors import ConfigError, reason

CREDENTIAL = "apixo-api-key"
VARIABLE = "VOICEKEEPER_API_KEY"
_LONGEST = 4096
_SHORTEST = 6
"""A shorter one would be cut out of words that hold it by chance, those of each answer too."""
_ASSIGNMENT = re.compile(
    r"\A(export\s+)?([A-Za-z_]\w*\s*=\s*(?=[^=])|\w*API_KEY=\Z)", re.ASCII | re.IGNORECASE
)
"""A name before the key in a file of variables, such as ``VOICEKEEPER_API_KEY=``; an equals sign
in a key itself can only be padding at its end."""
_QUOTES = "\"'`"
_QUOTED = re.compile(rf"(?P<quote>[{_QUOTES}])(?P<inner>.*)(?P=quote)", re.DOTALL)


class FoundKey(NamedTuple):
    """The API key, and where it stood, in words that do not hold it."""

    secret: SecretStr
    place: str


_open: Callable[[Path], int] = partial(os.open, flags=os.O_RDONLY)  # a link and a pipe too


def of_service(settings_file: Path) -> Path | None:
    """Return where the service that has these settings gets its key from; None if none has them.

    So the units have it: ``voicekeeper.service``, and ``voicekeeper@NAME.service`` for NAME.toml.
    """
    if settings_file.absolute().parent.resolve() != DEFAULT_PATH.parent.resolve():
        return None
    account = "" if settings_file.name == DEFAULT_PATH.name else f"{settings_file.stem}."
    return DEFAULT_PATH.with_name(f"{account}{CREDENTIAL}")


def find_api_key(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    service: Path | None = None,
    opened: Callable[[Path], int] = _open,
) -> FoundKey:
    """Return the API key from the first of three places that has one.

    ``upstream.api_key_file``, else ``$CREDENTIALS_DIRECTORY/apixo-api-key``, else
    ``$VOICEKEEPER_API_KEY``. White space and quotes around it are cut off, and a ``NAME=``
    before it.

    Args:
        settings: of which the first place is one.
        environ: the environment.
        service: the file that systemd hands the key over from; where it can be read, it comes
            before the environment, which does not hold the service's key.
        opened: opens the file of the first place, and returns its descriptor.

    Raises:
        ConfigError: there is none, its file cannot be read, or it cannot be a key.
    """
    file = settings.upstream.api_key_file
    if file:
        place = "upstream.api_key_file"
        written = _read(file, place, opened)
        if written is None:
            raise _refused(place, "names a file that does not exist")
        return FoundKey(_key(written, place), f"{file} ({place})")
    if service is not None and os.access(service, os.R_OK):
        place = str(service)
        return FoundKey(_key(_read(service, place) or "", place), place)
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory and not (service and service.parent.resolve() == Path(directory).resolve()):
        place, file = f"$CREDENTIALS_DIRECTORY/{CREDENTIAL}", Path(directory, CREDENTIAL)
        written = _read(file, place)
        if written is not None:
            return FoundKey(_key(written, place), f"{file} ($CREDENTIALS_DIRECTORY)")
    if VARIABLE in environ:
        place = f"${VARIABLE}"
        return FoundKey(_key(environ[VARIABLE], place), place)
    problem = (
        "there is no API key: name its file in upstream.api_key_file, give the systemd"
        f" credential {CREDENTIAL} ($CREDENTIALS_DIRECTORY/{CREDENTIAL}), or set ${VARIABLE}"
    )
    if service is not None:
        why = "only root can read, so run this as root" if service.exists() else "does not exist"
        problem += f"; the service has it from {service}, which {why}"
    raise ConfigError([problem], "the API key")


def _read(file: Path, place: str, opened: Callable[[Path], int] = _open) -> str | None:
    """Read a key file; None when there is no such file."""
    try:
        with os.fdopen(opened(file), "rb") as stream:
            return decoded(stream.read(_LONGEST + 1))
    except FileNotFoundError:
        return None
    except UnicodeError:
        problem = "holds characters that no API key has"
    except IsADirectoryError:
        problem = "names a directory"
    except OSError as error:
        problem = f"names a file that cannot be read: {reason(error)}"
    raise _refused(place, problem) from None


def _key(written: str, place: str) -> SecretStr:
    """Return the key that was meant by what was written."""
    key = _ASSIGNMENT.sub("", written.strip())
    if quote := _QUOTED.fullmatch(key):
        key = quote["inner"].strip()
    if not key:
        raise _refused(place, "is empty")
    if len(key) > _LONGEST:
        raise _refused(place, "is too long to be an API key")
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        raise _refused(place, "begins or ends with a quote that has no other half")
    if not all("!" <= character <= "~" for character in key):
        raise _refused(place, "holds white space or other characters that no API key has")
    if len(key) < _SHORTEST:
        raise _refused(place, f"has fewer than {_SHORTEST} characters, too few for an API key")
    return SecretStr(key)


def _refused(place: str, problem: str) -> ConfigError:
    return ConfigError([f"{place}: {problem}"], "the API key")
