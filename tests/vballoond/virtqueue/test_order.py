import pytest

from vballoond.virtqueue.order import AnyOrder, InOrder


def test_with_in_order_the_oldest_is_used_first() -> None:
    order = InOrder()
    for head in (3, 1, 2):
        order.taken(head)
    order.used(3)
    order.untaken()
    order.taken(7)
    order.used(1)
    order.used(7)


def test_a_device_that_overtakes_itself_is_found_out() -> None:
    order = InOrder()
    order.taken(3)
    order.taken(1)
    with pytest.raises(AssertionError, match="buffer 1 is used before 3"):
        order.used(1)


def test_without_it_any_order_will_do() -> None:
    order = AnyOrder()
    order.taken(3)
    order.used(9)
    order.untaken()
