"""What handlers find on the application."""

from typing import Final

from aiohttp import web

from ..control import Control
from ..events.log import EventLog
from ..holder.holder import Holder
from ..holder.no_holder import NoHolder
from ..offload import Offload
from ..registry import Registry
from ..runner.runner import PolicyRunner

REGISTRY: Final = web.AppKey("registry", Registry)
CONTROL: Final[web.AppKey[Control]] = web.AppKey("control")
HOLDER: Final[web.AppKey[Holder | NoHolder]] = web.AppKey("holder")
EVENTS: Final = web.AppKey("events", EventLog)
POLICY: Final = web.AppKey("policy", PolicyRunner)
OFFLOAD: Final = web.AppKey("offload", Offload)
RUN: Final = web.AppKey("run", str)
"""Names this run of the daemon: versions and ids of another one mean nothing in it."""
