"""The policies that are always there, each a file of its own and an example of how to write one.

static             nothing moves unless it is told to
watermark          oVirt MoM: below 20 % free on the host all guests shrink a little
shares             Proxmox VE: the host is to be used to 80 %, shares say by whom
proportional       Xen squeezed: all guests are squeezed alike between their bounds
available_balance  ChromeOS: what guest and host have available above critical is made equal
psi                senpai: guests are squeezed until they begin to wait for memory
idle_tax           VMware ESX: idle memory costs a guest more of its shares than memory in use
huge_pages         our own: takes free memory in pieces before huge blocks
"""

from typing import Final

from ..policy import Policy
from .available_balance import AvailableBalance
from .huge_pages import HugePages
from .idle_tax import IdleTax
from .proportional import Proportional
from .psi import Psi
from .shares import Shares
from .static import Static
from .watermark import Watermark

BUILT_IN: Final[tuple[type[Policy], ...]] = (
    Static,
    Watermark,
    Shares,
    Proportional,
    AvailableBalance,
    Psi,
    IdleTax,
    HugePages,
)
