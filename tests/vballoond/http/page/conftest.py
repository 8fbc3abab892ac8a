"""A page in Chromium, with a daemon behind it that says what the test has it say."""

from collections.abc import AsyncIterator

import pytest
from support.chromium import Page, chromium, page_in
from support.scripted_api import ScriptedApi, scripted_api

__all__ = ["chromium"]


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedApi]:
    async with scripted_api() as api:
        yield api


@pytest.fixture
async def page(chromium: str, scripted: ScriptedApi) -> AsyncIterator[Page]:
    # It goes before the daemon, of whose end it would complain.
    del scripted
    async with page_in(chromium) as page:
        yield page
