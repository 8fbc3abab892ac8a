from types import SimpleNamespace

import numpy as np

from vballoond.lab.simulation.host_memory import HostUse
from vballoond.lab.simulation.ledger import ledger


def test_each_part_comes_from_whoever_knows_it() -> None:
    touched = np.array([True, True, False, False])
    held = np.array([False, False, True, False])
    guest = SimpleNamespace(
        table=SimpleNamespace(memory=4 * 4096),
        target_bytes=2 * 4096,
        driver_bytes=4096,
        touched=lambda: touched,
        held=lambda: held,
    )
    use = HostUse(own_bytes=1000, resident_bytes=2 * 4096, available_bytes=500, swapped_bytes=0, unmet_bytes=0)
    found = ledger(1500 + 2 * 4096, use, [guest])
    assert (found.guests_memory, found.targets, found.to_go, found.untouched) == (16384, 8192, -4096, 4096)
    assert found.unexplained == 0
    guest.driver_bytes = 2 * 4096
    assert ledger(1500 + 2 * 4096, use, [guest]).unexplained == 4096
