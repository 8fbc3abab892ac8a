"""Settings that count, in a memory file with the holder: what a process goes on with after another.

They are checked ones, with all paths made absolute, as they would be written down; so they are checked again when they
are read, as a configuration is.
"""

import fcntl
import os
from typing import Final, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from ..errors import StateError
from ..holder.holder import Holder
from ..holder.no_holder import NoHolder

Model = TypeVar("Model", bound=BaseModel)

_MAX_BYTES: Final = 16 << 20  # ten thousand balloons have five
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def make_settings_file(settings: BaseModel) -> int:
    """Return the descriptor of a new file that has ``settings``; the caller closes it.

    Raises:
        OSError: It cannot be had.
    """
    fd = os.memfd_create("vballoond-settings", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(settings.model_dump_json(exclude_unset=True).encode())
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


async def keep_settings(settings: BaseModel, holder: Holder | NoHolder, name: str, *, otherwise: str) -> None:
    """Have ``settings`` with the holder, in the place of what it has under ``name``.

    Where they cannot be written down, ``otherwise`` is logged with the reason, and the holder has what it had.
    """
    try:
        fd = make_settings_file(settings)
    except OSError as error:
        structlog.get_logger().error(otherwise, reason=error.strerror)
        return
    try:
        holder.remove([name])
        await holder.store({name: fd})
    finally:
        os.close(fd)


def read_settings_file(fd: int, model: type[Model]) -> Model:
    """Return the settings in ``fd``, which stays the caller's.

    Raises:
        StateError: There are none that this vballoond understands.
    """
    try:
        return model.model_validate_json(os.pread(fd, _MAX_BYTES, 0))
    except (OSError, ValidationError) as error:
        raise StateError(f"the settings that were kept: {error}") from error
