from support.virtual_time import JumpingLoop


def pytest_asyncio_loop_factories(config, item):
    del config, item
    return {"virtual": JumpingLoop}
