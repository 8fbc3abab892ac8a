"""What handlers find on the application."""

from typing import Final

from aiohttp import web

from ..offload import Offload
from ..registry import Registry

REGISTRY: Final = web.AppKey("registry", Registry)
OFFLOAD: Final = web.AppKey("offload", Offload)
