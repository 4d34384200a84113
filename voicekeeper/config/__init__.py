"""The settings, and the API key, which is none of them.

A setting comes from the environment (``VOICEKEEPER_<TABLE>__<KEY>``), else from the TOML file,
else from its default. Whatever is wrong is reported at once as one `ConfigError`, each problem
with its dotted path, because a person who edits a file on a server wants to edit it once.

The parts: `settings` holds the tables, the rule of each key and those between keys, `values` what
a single value may be, `gone` the keys of earlier versions, `sources` reads the file and the
environment, `key` finds the API key, `policy` hands the rules what they need.
"""

from voicekeeper.config.key import FoundKey, find_api_key, of_service
from voicekeeper.config.settings import (
    Alerts,
    Budget,
    Daemon,
    Database,
    Keepalive,
    Log,
    Polling,
    Retry,
    Settings,
    Upstream,
    Web,
    Webhook,
    changed,
    unchangeable,
)
from voicekeeper.config.sources import DEFAULT_PATH, Places, load, places
from voicekeeper.config.values import Address

__all__ = [
    "DEFAULT_PATH",
    "Address",
    "Alerts",
    "Budget",
    "Daemon",
    "Database",
    "FoundKey",
    "Keepalive",
    "Log",
    "Places",
    "Polling",
    "Retry",
    "Settings",
    "Upstream",
    "Web",
    "Webhook",
    "changed",
    "find_api_key",
    "load",
    "of_service",
    "places",
    "unchangeable",
]
