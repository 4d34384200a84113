"""Reload the settings of a running daemon: all of them or none.

Everything is read and judged before anything changes. Keeper and gateway client then take on what
differs between two calls: none is cut short, repeated or lost.
"""

import asyncio
import os
from collections.abc import Callable, Sequence

from voicekeeper.config import Settings, changed, unchangeable
from voicekeeper.core.secret import SecretStr
from voicekeeper.daemon.wiring import Assembly
from voicekeeper.errors import ConfigError

THE_KEY = "the API key"
"""What `Reload.__call__` calls a new key, which is no setting."""


class Reload:
    """Reads the settings and the key again, and puts them in force.

    Args:
        assembly: what goes by them.
        load: reads the settings; raises `ConfigError`.
        read_key: finds the API key that these settings lead to; raises `ConfigError`.
        configure_log: sends the log where the settings say, without any of these secrets.
    """

    def __init__(
        self,
        assembly: Assembly,
        *,
        load: Callable[[], Settings],
        read_key: Callable[[Settings], SecretStr],
        configure_log: Callable[[Settings, Sequence[SecretStr]], None],
    ) -> None:
        self._assembly = assembly
        self._load = load
        self._read_key = read_key
        self._configure_log = configure_log
        self._secrets = [assembly.api_key, *assembly.settings.secrets(os.environ)]

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self._assembly.settings

    async def __call__(self) -> tuple[str, ...]:
        """Put the settings in force as they stand now.

        Returns:
            The dotted paths of those that differ.

        Raises:
            VoicekeeperError: they are wrong, cannot change while the daemon runs, or cannot be
                taken on; the old ones stay in force.
        """
        settings = await asyncio.to_thread(self._load)  # a file may be a pipe that nobody fills
        paths = changed(self.settings, settings)
        if problems := unchangeable(paths):
            raise ConfigError(problems, "the new settings")
        api_key = await asyncio.to_thread(self._read_key, settings)
        if api_key != self._assembly.api_key:
            paths += (THE_KEY,)
        # An answer to a call or a message under way may echo the old ones.
        new = [api_key, *settings.secrets(os.environ)]
        self._secrets += [secret for secret in new if secret not in self._secrets]
        self._configure_log(self.settings, self._secrets)  # before they are first used
        await self._assembly.adopt(settings, api_key)
        self._configure_log(settings, self._secrets)
        return paths
