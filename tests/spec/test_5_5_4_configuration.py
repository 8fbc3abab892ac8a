import pytest
from support.plain_device import PlainDevice

from protocol.virtio import RingFeature
from vballoond.balloon.facts import ConfigWritten, TargetSet


@pytest.mark.clause(4, "5.5.4", "the configuration space MUST be little-endian for a legacy driver too", "legacy")
@pytest.mark.parametrize("features", [0, RingFeature.VERSION_1])
def test_fields_are_little_endian_whatever_the_driver_took(features):
    device = PlainDevice(features)
    device.handle(TargetSet(0x01020304))
    assert device.read_config(0, 4) == bytes([4, 3, 2, 1])
    device.handle(ConfigWritten(4, bytes([8, 7, 6, 5])))
    assert device.state.config.actual == 0x05060708
