"""Breaches in the configuration space."""

from typing import Final

from protocol.balloon.config_space import BALLOON_CONFIG

from .attack import attack
from .driver import HostileDriver


@attack("5.5.4", completes=0)
def config_scribble(driver: HostileDriver) -> None:
    """5.5.4: num_pages and free_page_hint_cmd_id are the device's, and the driver only reads them."""
    driver.write_config(0, b"\xff" * BALLOON_CONFIG.size)


@attack("4.1.3.1", completes=0)
def config_written_byte_by_byte(driver: HostileDriver) -> None:
    """4.1.3.1: a 32-bit field is written as a whole; these are single bytes, of the device's fields too."""
    for offset in range(BALLOON_CONFIG.size):
        driver.write_config(offset, b"\xff")


@attack("5.5.4", completes=0)
def config_written_behind_its_end(driver: HostileDriver) -> None:
    """5.5.4: the configuration space has 16 bytes; this begins in it, or far behind it, and has thousands."""
    driver.write_config(BALLOON_CONFIG.offset_of("poison_val"), b"\xff" * 4096)
    driver.write_config(BALLOON_CONFIG.size, b"\xff" * 4096)
    driver.write_config(0xFFFFFFFF, b"\xff" * 4096)


ATTACKS: Final = (config_scribble, config_written_byte_by_byte, config_written_behind_its_end)
