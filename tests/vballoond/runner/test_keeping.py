import asyncio

from vballoond.policy.reservations import Book, Reservation
from vballoond.runner.keeping import DISK_S, Keeping
from vballoond.runner.kept import Chosen, Kept


class World:
    """What is known, and where it came to, in order."""

    def __init__(self) -> None:
        self.known = Kept(active=Chosen(name="p"))
        self.now_s = 0.0
        self.held: list[Kept] = []
        self.on_disk: list[Kept] = []
        self.slow = asyncio.Event()
        self.slow.set()
        self.keeping = Keeping(lambda: self.known, self.hold, self.write, lambda: self.now_s)

    async def hold(self, kept: Kept) -> None:
        await self.slow.wait()
        self.held.append(kept)

    async def write(self) -> None:
        self.on_disk.append(self.known)

    def remembers(self, memory: int) -> Kept:
        self.known = self.known.model_copy(update={"active": Chosen(name="p", memory=memory)})
        return self.known


async def test_what_is_no_news_goes_nowhere() -> None:
    world = World()
    world.now_s = 10 * DISK_S
    await world.keeping.keep()
    assert (world.held, world.on_disk) == ([], [])


async def test_what_a_policy_remembers_is_held_at_once_and_on_disk_within_the_minute() -> None:
    world = World()
    for second in range(1, 5):
        world.now_s = float(second)
        newest = world.remembers(second)
        await world.keeping.keep()
    assert (len(world.held), world.on_disk) == (4, [])
    world.now_s = DISK_S  # and it has remembered nothing new since
    await world.keeping.keep()
    await world.keeping.keep()
    assert (len(world.held), world.on_disk) == (4, [newest])


async def test_what_somebody_chose_is_on_disk_at_once() -> None:
    world = World()
    reservation = Reservation(id=1, wanted_bytes=7, asked_at_s=0, by_s=2, keep_s=3)
    for news in (
        {"active": Chosen(name="q")},
        {"active": Chosen(name="q", settings={"a": 1})},
        {"shadow": Chosen(name="q")},
        {"book": Book(reservations=(reservation,), next_id=2)},
        {"by_hand_until_s": {"vm1": 5.0}},
        {"configured": {"name": "q"}},
    ):
        world.known = world.known.model_copy(update=news)
        await world.keeping.keep()
        assert world.on_disk[-1] == world.held[-1] == world.known
    assert len(world.on_disk) == 6


async def test_where_something_else_moved_the_disk_has_it_though_nothing_is_held_anew() -> None:
    world = World()
    await world.keeping.keep(moved=True)
    assert (world.held, world.on_disk) == ([], [world.known])


async def test_what_is_known_last_is_what_is_held_last() -> None:
    world = World()
    world.slow.clear()
    world.remembers(1)
    first = asyncio.create_task(world.keeping.keep())
    await asyncio.sleep(0)
    newest = world.remembers(2)
    second = asyncio.create_task(world.keeping.keep())
    await asyncio.sleep(0)
    world.slow.set()
    await asyncio.gather(first, second)
    assert world.held[-1] == newest


async def test_what_could_not_be_held_is_held_the_next_time() -> None:
    world = World()
    world.slow.clear()
    newest = world.remembers(1)
    keeping = asyncio.create_task(world.keeping.keep())
    await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    world.slow.set()
    await world.keeping.keep()
    assert world.held == [newest]
