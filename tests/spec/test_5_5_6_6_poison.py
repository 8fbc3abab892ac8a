import pytest
from support.fake_device import OFFERED, bench
from support.plain_device import PlainDevice, releases

from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.virtio import RingFeature

POISON = BalloonFeature.PAGE_POISON
PATTERN = 0xAAAAAAAA
filling_guests = pytest.mark.parametrize(
    ("guest", "value"), [({"page_poisoning": True}, PATTERN), ({"init_on_free": True}, 0)]
)


@pytest.mark.clause(19, "5.5.6.6.2", "MAY take poison_val for what reported pages hold", "used")
@pytest.mark.parametrize(("value", "given_back"), [(0, True), (PATTERN, False), (1, False)])
def test_poison_val_decides_whether_a_hole_can_stand_for_a_reported_page(value, given_back):
    device = PlainDevice(RingFeature.VERSION_1 | BalloonFeature.PAGE_REPORTING | POISON)
    device.write_poison(value)
    assert releases(*device.report(QueueRole.REPORTING, 64, 8)) == given_back


@pytest.mark.clause(57, "5.5.6.6.1", "MUST fill deflated pages with poison_val")
@filling_guests
def test_pages_that_come_back_hold_the_value(guest, value):
    with bench(offered=OFFERED | POISON, **guest) as made:
        made.resize(70)
        pages = made.seen("inflateq")[0]
        for page in pages:
            made.guest.ram.write(page * FRAME_BYTES, b"?" * FRAME_BYTES)
        made.resize(0)
        for page in pages:
            with made.guest.ram.view(page * FRAME_BYTES, FRAME_BYTES) as view:
                assert bytes(view) == value.to_bytes(4, "little") * (FRAME_BYTES // 4)


@pytest.mark.clause(58, "5.5.6.6.1", "MUST write poison_val before DRIVER_OK")
@filling_guests
def test_the_value_is_there_when_the_driver_is_ready(guest, value):
    with bench(offered=OFFERED | POISON, **guest) as made:
        assert made.device.order("poison_val", "driver_ok") == ["poison_val", "driver_ok"]
        assert made.device.config.poison_val == value


@pytest.mark.clause(59, "5.5.6.6.1", "MUST NOT change poison_val after that")
@filling_guests
def test_the_value_is_written_once(guest, value):
    with bench(offered=OFFERED | POISON, **guest) as made:
        made.resize(600)
        made.resize(0)
        made.run_for(60)
        made.start(made.driver.remove())
        made.run_for(1)
        assert made.seen("poison_val") == [value]
