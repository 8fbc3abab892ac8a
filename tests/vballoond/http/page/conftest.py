"""A page in Chromium, with a daemon behind it that says what the test has it say."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def modules(chromium):
    """A document of the daemon's in which nothing runs yet: the page's modules can be imported there."""
    async with scripted_api() as api, page_in(chromium) as page:
        await page.go(f"{api.url}/page/icon.svg")
        yield page
        # A browser asks for an icon of a document that names none.
        page.complaints[:] = [said for said in page.complaints if "favicon.ico" not in said]
