"""What the configuration lets users of the API add: where balloons may listen, and how much memory models may have."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from ..errors import OperatorError
from ..sizes import format_size
from .models import BalloonSettings, HttpSettings

MOST_ADDED: Final = 1024
"""Balloons that may be added: each has some descriptors, with a guest behind it a dozen."""


def admit(settings: BalloonSettings, http: HttpSettings, added: Collection[BalloonSettings]) -> BalloonSettings:
    """Return ``settings`` with the paths of its sockets made absolute, where they may be added to those of ``added``.

    Raises:
        OperatorError: 422, they are outside of the bounds; it says which, and what would be inside.
    """
    if len(added) >= MOST_ADDED:
        raise _refusal(f"{MOST_ADDED} balloons have been added, which is the most: remove one", "too-many-balloons")
    if settings.workload is not None and ("/" in settings.workload or Path(settings.workload).suffix):
        raise _refusal(
            f"workload {settings.workload!r} is a file: through the API only those by name can be had", "file-workload"
        )
    if settings.transport == "in-process":
        _check_memory(settings, http, added)
    sockets = {"socket": settings.socket, "firecracker_socket": settings.firecracker_socket}
    return settings.model_copy(
        update={key: _place(key, path, http.socket_directory) for key, path in sockets.items() if path is not None}
    )


def _check_memory(settings: BalloonSettings, http: HttpSettings, added: Collection[BalloonSettings]) -> None:
    models = [other.memory or 0 for other in added if other.transport == "in-process"]
    left_bytes = max(0, http.max_inprocess_memory - sum(models))
    if (settings.memory or 0) > left_bytes:
        raise _refusal(
            f"{format_size(settings.memory or 0)} for another in-process guest is more than the "
            f"{format_size(left_bytes)} that are left of http.max_inprocess_memory",
            "memory-out-of-range",
            limit_bytes=left_bytes,
        )


def _place(key: str, path: Path, directory: Path | None) -> Path:
    if directory is None:
        raise _refusal(
            f"{key} {str(path)!r}: balloons with sockets can be added once http.socket_directory is configured",
            "no-socket-directory",
        )
    place = Path(os.path.normpath(directory / path))
    if place.parent != Path(os.path.normpath(directory)) or "\0" in str(path):
        raise _refusal(
            f"{key} {str(path)!r} is not directly in {directory}, where alone balloons that are added may listen",
            "socket-out-of-place",
        )
    return place


def _refusal(detail: str, code: str, **extra: int) -> OperatorError:
    return OperatorError(detail, status=422, code=code, **extra)
