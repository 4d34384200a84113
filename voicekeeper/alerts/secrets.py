"""The texts in an address that no line may hold: all of it, and each part that may be a token."""

import re
from base64 import b64encode
from urllib.parse import unquote

from voicekeeper.secret import SecretStr

_SHORTEST = 8
"""A shorter part is no token, and to cut it out would cut words."""

_BETWEEN = re.compile(r"[/@:?&=;,#]+")
_USER = re.compile(r"([^/?#:]*:([^/?#]+))@")
_PASSWORD_OF = re.compile(r"[?&][^=&]*(?:pass|pw|secret|token|key)[^=&]*=([^&#]+)", re.IGNORECASE)
_OWN_NAME = "voicekeeper"
_HOST = re.compile(r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+)", re.IGNORECASE)


def parts(address: SecretStr) -> list[SecretStr]:
    """Return an address, and what in it may be a secret, as written and as meant.

    The name of a host is none; but many services put a token where a host would stand.
    """
    whole = address.get_secret_value()
    _, _, rest = whole.partition("://")
    found = {whole, rest}
    for part in _BETWEEN.split(rest):
        if len(part) >= _SHORTEST and part != _OWN_NAME and not _HOST.fullmatch(part):
            found |= {part, unquote(part)}
    return [SecretStr(text) for text in sorted(found, key=len, reverse=True) if text]


def passwords(address: SecretStr) -> list[SecretStr]:
    """Return what of an address is a password for certain, of any length, as written and as meant.

    With them comes what base64 makes of each: of a password, of ``user:password`` as a header of
    HTTP holds it, and of both as SMTP does.
    """
    _, _, rest = address.get_secret_value().partition("://")
    found = set(_PASSWORD_OF.findall(rest))
    if user := _USER.match(rest):
        found |= {user[1], user[2]}
    found |= {unquote(each) for each in found}
    found |= {f"\0{each.replace(':', chr(0), 1)}" for each in found if ":" in each}
    found |= {b64encode(each.encode()).decode().rstrip("=") for each in found}
    return [SecretStr(each) for each in sorted(found)]
