"""The configuration that counts: the one that can be read, or at a restart, the last that could.

Rules of this file:

* At a first start and at a reload a wrong configuration is refused, and nothing has changed.
* A process that goes on where another was has guests that wait for it. Where its configuration is wrong, it takes the
  one that counted last, which is with the holder, and says so for as long as that is so.
"""

from collections.abc import Callable
from typing import Final

import structlog

from .config.models import Settings
from .errors import StartError, StateError
from .holder.holder import Holder
from .holder.no_holder import NoHolder
from .http.listen import check_http
from .state.settings_file import keep_settings, read_settings_file

CONFIGURATION: Final = "configuration"
"""By which name the holder has it."""


class Configuration:
    """Reads it, and keeps it.

    Args:
        load: Reads it anew; raises a StartError where it is wrong.
        holder: Has it for a process after this one.
    """

    def __init__(self, load: Callable[[], Settings], holder: Holder | NoHolder) -> None:
        self.problem: str | None = None
        """Why another configuration counts than the one that there is; None where none does."""
        self._load: Final = load
        self._holder: Final = holder

    def begin(self) -> Settings:
        """Return the configuration to start with.

        Raises:
            StartError: It is wrong, and no earlier one is kept.
        """
        try:
            return self.read()
        except StartError as error:
            kept = self._kept()
            if kept is None:
                raise
            self.problem = error.detail
            structlog.get_logger().critical("configuration wrong, so that of before counts", reason=error.detail)
            return kept

    def read(self) -> Settings:
        """Return the configuration that there is now.

        Raises:
            StartError: It is wrong.
        """
        settings = self._load()
        check_http(settings.http)
        return settings

    async def keep(self, settings: Settings) -> None:
        """Have ``settings`` count from now on, here and in a process after this one."""
        await keep_settings(settings, self._holder, CONFIGURATION, otherwise="configuration not kept")

    def _kept(self) -> Settings | None:
        fd = self._holder.inherited().get(CONFIGURATION)
        if fd is None:
            return None
        try:
            return read_settings_file(fd, Settings)
        except StateError as error:
            structlog.get_logger().error("kept configuration set aside", reason=str(error))
            return None
