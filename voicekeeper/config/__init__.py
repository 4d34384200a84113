"""The settings, and the API key, which is none of them.

A setting comes from the environment (``VOICEKEEPER_<TABLE>__<KEY>``), else from the TOML file,
else from its default. All problems are reported at once as one `ConfigError`, each with its
dotted path, because a person who edits a file on a server wants to edit it once.

The parts: `settings` holds the tables, the rule of each key and those between keys, `values` the
rules of single values, `sources` reads the file and the environment, `key` finds the API key.
"""

from voicekeeper.config.key import FoundKey, find_api_key, of_service
from voicekeeper.config.settings import (
    Alerts,
    Daemon,
    Polling,
    Settings,
    Upstream,
    changed,
    policy_of,
    unchangeable,
)
from voicekeeper.config.sources import DEFAULT_PATH, Places, load, places
from voicekeeper.config.values import Address

__all__ = [
    "DEFAULT_PATH",
    "Address",
    "Alerts",
    "Daemon",
    "FoundKey",
    "Places",
    "Polling",
    "Settings",
    "Upstream",
    "changed",
    "find_api_key",
    "load",
    "of_service",
    "places",
    "policy_of",
    "unchangeable",
]
