"""The balloon's configuration space: virtio 1.4 section 5.5.4. Little-endian even for a legacy driver."""

from typing import Final, NamedTuple

from construct import Int32ul

from ..layout import Layout


class BalloonConfig(NamedTuple):
    """All 16 bytes. ``num_pages`` and ``actual`` count frames of 4 KiB.

    The device writes ``num_pages`` and ``free_page_hint_cmd_id``; the driver writes ``actual`` and ``poison_val``.
    """

    num_pages: int = 0
    actual: int = 0
    free_page_hint_cmd_id: int = 0
    poison_val: int = 0


BALLOON_CONFIG: Final = Layout(
    BalloonConfig, num_pages=Int32ul, actual=Int32ul, free_page_hint_cmd_id=Int32ul, poison_val=Int32ul
)

DRIVER_WRITES: Final = ("actual", "poison_val")
"""The only fields a driver may change; a front-end that writes the whole region back writes stale values elsewhere."""
