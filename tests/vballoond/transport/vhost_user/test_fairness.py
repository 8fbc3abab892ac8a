import asyncio

from support.backend_rig import backend_rig
from support.fake_front_end import message

from protocol.vhost_user.requests import Request


async def test_a_front_end_that_never_pauses_leaves_others_their_turns() -> None:
    async with backend_rig() as rig:
        vm = rig.connect()
        turns = 0

        async def somebody_else() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        other = asyncio.create_task(somebody_else())
        messages = 100
        vm.send_bytes(message(Request.SET_OWNER) * messages + message(Request.GET_FEATURES))
        await vm.reply_to(Request.GET_FEATURES)
        other.cancel()
        assert turns >= messages
