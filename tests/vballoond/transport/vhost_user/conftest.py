"""A balloon whose front-end is the test."""

from collections.abc import AsyncIterator

import pytest
from support.backend_rig import BackendRig, backend_rig


@pytest.fixture
async def rig() -> AsyncIterator[BackendRig]:
    async with backend_rig() as rig:
        yield rig
