import json
import os

import pytest
from structlog.testing import capture_logs
from support.fake_holder import FakeHolder

from vballoond.config.policy import PolicySettings
from vballoond.policy.reservations import Book, Reservation
from vballoond.runner.acting import Acting
from vballoond.runner.kept import POLICY, Chosen, Kept, begin, configured, keep

BOOK = Book(reservations=(Reservation(id=3, wanted_bytes=7, asked_at_s=1.5, by_s=2, keep_s=3),), next_id=4)
KEPT = Kept(
    configured=configured(PolicySettings()),
    active=Chosen(name="p", settings={"a": 1}, memory={"seen": [1, 2]}),
    shadow=Chosen(name="q"),
    book=BOOK,
    by_hand_until_s={"vm1": 5.0},
)


async def test_the_next_process_finds_what_the_holder_has() -> None:
    holder = FakeHolder()
    await keep(Kept(), holder)
    await keep(KEPT, holder)
    fd = holder.successor().inherited()[POLICY]
    assert begin(fd, {"active": {"name": "old"}}) == KEPT
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    holder.close()


def test_without_a_holder_the_disk_counts() -> None:
    assert begin(None, json.loads(json.dumps(KEPT.data()))) == KEPT
    assert begin(None, None) == Kept()


@pytest.mark.parametrize("damaged", [{"active": 7}, {"unknown": 1}, {"book": {"next_id": "x"}}])
def test_what_cannot_be_read_was_never_kept(damaged) -> None:
    with capture_logs() as logs:
        assert begin(None, damaged) == Kept()
    assert [line["event"] for line in logs] == ["what was kept of policies is set aside"]


def test_what_was_chosen_acts_until_the_configuration_names_another() -> None:
    assert KEPT.active_under(PolicySettings()) == Acting("p", {"a": 1}, {"seen": [1, 2]})
    assert KEPT.active_under(PolicySettings(interval_s=5)).name == "p"
    assert KEPT.active_under(PolicySettings(name="watermark")) == Acting("watermark")
    assert KEPT.active_under(PolicySettings(settings={"x": 1})) == Acting("static", {"x": 1})
