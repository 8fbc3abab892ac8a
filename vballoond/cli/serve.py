"""``vballoond serve``: start the daemon, say what to open and to type, and turn a failed start into its exit status."""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StartError

if TYPE_CHECKING:
    from ..daemon import Daemon


def run_daemon(config: Path | None) -> int:
    """Run the daemon until a signal ends it; return the exit status."""
    # The daemon's libraries take half a second to import, which the other commands need not spend.
    from ..config.load import load_settings
    from ..config.models import embedded_default
    from ..daemon import serve
    from ..logs import configure_logs

    try:
        settings = embedded_default() if config is None else load_settings(config)
        configure_logs(settings.log.level)
        asyncio.run(serve(settings, _announce))
    except StartError as error:
        print(f"vballoond: {error.detail}", file=sys.stderr)
        return error.exit_status
    return 0


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
