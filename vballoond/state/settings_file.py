"""The configuration that counts, in a memory file with the holder: what a process goes on with whose own is wrong.

It is the checked configuration, with all paths made absolute, as it would be written down; so it is checked again when
it is read, as a configuration is.
"""

import fcntl
import os
from typing import Final

from pydantic import ValidationError

from ..config.models import Settings
from ..errors import StateError

_MAX_BYTES: Final = 16 << 20  # ten thousand balloons have five
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def make_settings_file(settings: Settings) -> int:
    """Return the descriptor of a new file that has ``settings``; the caller closes it.

    Raises:
        OSError: It cannot be had.
    """
    fd = os.memfd_create("vballoond-configuration", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(settings.model_dump_json(exclude_unset=True).encode())
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_settings_file(fd: int) -> Settings:
    """Return the configuration in ``fd``, which stays the caller's.

    Raises:
        StateError: There is none that this vballoond understands.
    """
    try:
        return Settings.model_validate_json(os.pread(fd, _MAX_BYTES, 0))
    except (OSError, ValidationError) as error:
        raise StateError(f"the configuration that was kept: {error}") from error
