"""What handlers find on the application."""

from typing import Final

from aiohttp import web

from ..control import Control
from ..holder.holder import Holder
from ..holder.no_holder import NoHolder
from ..offload import Offload
from ..registry import Registry

REGISTRY: Final = web.AppKey("registry", Registry)
CONTROL: Final[web.AppKey[Control]] = web.AppKey("control")
HOLDER: Final[web.AppKey[Holder | NoHolder]] = web.AppKey("holder")
OFFLOAD: Final = web.AppKey("offload", Offload)
