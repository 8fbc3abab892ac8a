"""``vballoond serve``: start the daemon, say what to open and to type, and turn a failed start into its exit status."""

import asyncio
import contextlib
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..errors import StartError

if TYPE_CHECKING:
    from ..daemon import Daemon


def run_daemon(config: Path | None, *, keeper: bool = True) -> int:
    """Run the daemon until a signal ends it; return the exit status.

    Where nobody holds descriptors for it, this process becomes the keeper and the daemon its worker, unless it is to be
    without one.
    """
    if keeper and "NOTIFY_SOCKET" not in os.environ:
        _become_keeper(config)
    # The daemon's libraries take half a second to import, which the other commands need not spend. Nothing of them is
    # garbage, so while they come nobody looks for any, and never in them afterwards.
    gc.disable()
    from ..config.load import load_settings
    from ..config.models import Settings, embedded_default
    from ..daemon import serve
    from ..holder.holder import Holder
    from ..holder.no_holder import NoHolder
    from ..logs import configure_logs

    gc.freeze()
    gc.enable()

    def load() -> Settings:
        return embedded_default() if config is None else load_settings(config)

    try:
        if keeper:
            configure_logs("info")  # until the configuration says what else
        holder = Holder.from_environ(os.environ) if keeper else NoHolder()
        asyncio.run(serve(load, _announce, holder))
    except StartError as error:
        print(f"vballoond: {error.detail}", file=sys.stderr)
        return error.exit_status
    return 0


def _become_keeper(config: Path | None) -> NoReturn:
    worker = [sys.executable, "-m", "vballoond", "serve"]
    if config is not None:
        worker += ["--config", str(config)]
    os.execv(sys.executable, [sys.executable, "-m", "vballoond.keeper", "--", *worker])  # noqa: S606 (no shell wanted)


def _announce(daemon: "Daemon") -> None:
    names = [service.settings.name for service in daemon.registry]
    api = "" if daemon.api_url == "http://127.0.0.1:8750" else f" --api {daemon.api_url}"
    lines = [f"vballoond serves {len(names)} balloon(s): {', '.join(names) or 'none'}"]
    if daemon.api_url.startswith("http"):
        lines.append(f"  open   {daemon.api_url}/")
    if names:
        lines += [
            f"  type   vballoond set {names[0]} 512MiB --wait 30{api}",
            f"         vballoond show {names[0]}{api}",
            f"         vballoond frames {names[0]}{api}",
        ]
    lines.append("  end    Ctrl-C")
    with contextlib.suppress(OSError):
        print("\n".join(lines), flush=True)
