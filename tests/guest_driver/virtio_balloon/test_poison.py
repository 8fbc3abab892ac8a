import pytest
from support.fake_device import OFFERED, bench

from guest_driver.virtio_balloon import DriverOptions
from guest_driver.virtio_balloon.features import validated
from protocol.balloon.features import BalloonFeature

FRAME = 4096
POISON, REPORTING = int(BalloonFeature.PAGE_POISON), int(BalloonFeature.PAGE_REPORTING)
PATTERN = 0xAAAAAAAA


@pytest.mark.parametrize(
    ("guest", "offered", "taken"),
    [
        ({}, POISON | REPORTING, REPORTING),
        ({}, REPORTING, REPORTING),
        ({"page_poisoning": True}, POISON | REPORTING, POISON | REPORTING),
        ({"init_on_free": True}, POISON | REPORTING, POISON | REPORTING),
        ({"page_poisoning": True}, REPORTING, 0),
        ({"init_on_free": True}, REPORTING, 0),
        ({"page_poisoning": True}, POISON, POISON),
    ],
)
def test_poisoning_is_agreed_on_where_the_guest_fills_its_pages_and_reporting_only_with_it(guest, offered, taken):
    """D12; clauses 23 and 24."""
    assert validated(offered, DriverOptions(**guest)) == taken


@pytest.mark.parametrize(
    ("guest", "value"),
    [
        ({"page_poisoning": True}, PATTERN),
        ({"init_on_free": True}, 0),
        ({"page_poisoning": True, "init_on_free": True}, 0),
    ],
)
def test_the_value_is_written_once_before_driver_ok(guest, value):
    """D12; clauses 58 and 59."""
    with bench(offered=OFFERED | POISON, **guest) as made:
        made.resize(100)
        assert made.device.order("set_up_queue", "poison_val", "driver_ok")[-2:] == ["poison_val", "driver_ok"]
        assert made.seen("poison_val") == [value]


@pytest.mark.parametrize("offered", [OFFERED, OFFERED | POISON])
def test_a_guest_that_fills_no_pages_writes_no_value(offered):
    with bench(offered=offered) as made:
        assert made.seen("poison_val") == []


def test_a_restored_driver_does_not_write_it_again():
    with bench(offered=OFFERED | POISON, page_poisoning=True) as made:
        made.start(made.driver.freeze())
        made.run_for(0.01)
        made.driver.restore()
        assert made.seen("poison_val") == [PATTERN]


@pytest.mark.parametrize(
    ("offered", "guest", "content"),
    [
        (POISON, {"page_poisoning": True}, b"\xaa"),
        (POISON, {"init_on_free": True}, b"\0"),
        (0, {"page_poisoning": True}, b"?"),
        (POISON, {}, b"?"),
    ],
)
def test_pages_that_come_back_are_filled(offered, guest, content):
    """Clause 57."""
    with bench(offered=OFFERED | offered, **guest) as made:
        made.resize(1)
        page = made.seen("inflateq")[0][0]
        made.guest.ram.write(page * FRAME, b"?" * FRAME)
        made.resize(0)
        with made.guest.ram.view(page * FRAME, FRAME) as view:
            assert bytes(view) == content * FRAME


@pytest.mark.parametrize(
    ("queue", "feature"), [("free_page_vq", BalloonFeature.FREE_PAGE_HINT), ("reporting_vq", REPORTING)]
)
def test_blocks_are_filled_before_they_are_reported_and_when_they_were_lent(queue, feature):
    """Clauses 55 and 61."""
    with bench(96 * 1024, offered=OFFERED | POISON | feature, page_poisoning=True) as made:
        made.device.answers = queue == "free_page_vq"
        made.device.set_command(2)
        made.run_for(3)
        page, pages = next(pieces[0] for pieces in made.seen(queue) if isinstance(pieces, list))
        made.device.set_command(1)
        made.settle()
        with made.guest.ram.view(page * FRAME, pages * FRAME) as view:
            assert bytes(view) == b"\xaa" * FRAME * pages
