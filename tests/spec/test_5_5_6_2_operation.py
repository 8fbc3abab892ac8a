"""Inflating and deflating: what binds the device. What binds the driver is in test_5_5_6_1_operation.py."""

import pytest
from support.backend_rig import settled, vhost_user_settings
from support.fake_front_end import RING_FEATURES, pfns
from support.in_process_driver import DEFLATE, INFLATE, driven
from support.plain_device import HEAD, PlainDevice

from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.virtio import RingFeature
from vballoond.balloon.effects import CompleteRequest, ReleaseFrames
from vballoond.balloon.facts import ConfigWritten
from vballoond.memory.frames import FrameRange
from vballoond.transport.features import offered_features


@pytest.mark.clause(5, "5.5.6.2", "MAY change a page from seeing it in an inflate request until answering", "used")
def test_a_page_is_given_back_before_the_inflate_request_is_answered():
    effects = PlainDevice(RING_FEATURES).request(QueueRole.INFLATE, pfns([5, 6]))
    assert effects == (ReleaseFrames((FrameRange(5, 2),)), CompleteRequest(QueueRole.INFLATE, HEAD))


@pytest.mark.clause(6, "5.5.6.2", "with MUST_TELL_HOST MAY change it until deflating is answered", "not used")
@pytest.mark.parametrize("features", [RING_FEATURES, RING_FEATURES | BalloonFeature.MUST_TELL_HOST])
async def test_a_page_is_left_alone_from_the_answer_to_its_inflation_on(features):
    """Without MUST_TELL_HOST it has to be: the driver may use the page again whenever it likes."""
    async with driven() as (service, driver):
        driver.load(INFLATE, DEFLATE, features=features)
        first = driver.guest.first_free_pfn()
        driver.guest.ram.write(first * FRAME_BYTES, b"before")
        driver.request(INFLATE, pfns([first]))
        await settled(service)
        with driver.guest.ram.view(first * FRAME_BYTES, FRAME_BYTES) as view:
            assert not any(view)
            view[:5] = b"after"
            service.set_target(100)
            driver.request(INFLATE, pfns([first + 1]))
            driver.request(DEFLATE, pfns([first]))
            await settled(service)
            assert bytes(view[:5]) == b"after"
        assert driver.used(DEFLATE) is not None


@pytest.mark.clause(7, "5.5.6.2.1", "SHOULD wait for the last byte of actual that a legacy driver writes", "legacy")
def test_version_1_is_offered_and_bytes_of_actual_count_as_they_are_written():
    assert offered_features(vhost_user_settings()) & RingFeature.VERSION_1
    device = PlainDevice(0)
    device.handle(ConfigWritten(4, b"\x01"))
    assert device.state.config.actual == 1
    device.handle(ConfigWritten(5, b"\x01"))
    assert device.state.config.actual == 0x101
