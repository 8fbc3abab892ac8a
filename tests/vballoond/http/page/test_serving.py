"""The page's files, as the application serves them."""

import re

import pytest
from support.api import Api

from vballoond.http.app import build_app
from vballoond.http.page import CONTENT_SECURITY_POLICY, FILES, MEDIA
from vballoond.offload import Offload

EVERY = ["/", *sorted(f"/page/{name}" for name in FILES)]


def references(text: str) -> set[str]:
    """What a browser would load for a file, and where its links lead."""
    found = re.findall(r'(?:href|src)="([^"#]+)"', text)
    return {*found, *(f"/page/{name}" for name in re.findall(r'from "\./([^"]+)"', text))}


@pytest.mark.parametrize("path", EVERY)
async def test_a_file_comes_with_the_headers_that_confine_it(api, path: str) -> None:
    answer = await api.ask("GET", path)
    assert answer.status == 200
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.media == MEDIA["." + (path.rpartition(".")[2] if path != "/" else "html")]


async def test_the_page_is_the_index(api) -> None:
    assert (await api.ask("GET", "/")).body == FILES["index.html"].body


def test_the_policy_allows_nothing_unsafe() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "*" not in CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("path", EVERY)
async def test_a_browser_that_has_a_file_is_told_so(balloons, aiohttp_client, path: str) -> None:
    client = await aiohttp_client(build_app(balloons.registry, Offload()))
    first = await client.get(path)
    again = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = await client.get(path, headers={"If-None-Match": '"another"'})
    assert (other.status, await other.read()) == (200, await first.read())


def test_files_have_different_tags() -> None:
    assert len({file.etag for file in FILES.values()}) == len(FILES)


async def test_everything_that_a_file_refers_to_is_there_and_nothing_is_elsewhere(api) -> None:
    for name, file in FILES.items():
        for reference in references(file.body.decode()):
            assert reference.startswith("/"), f"{name} refers to {reference}"
            assert (await api.ask("GET", reference)).status == 200, f"{name} refers to {reference}"


def test_nothing_names_another_host() -> None:
    for name, file in FILES.items():
        hosts = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", file.body.decode())) - {"http://www.w3.org"}
        assert hosts == set(), name


def test_the_html_has_no_script_or_style_in_it() -> None:
    html = FILES["index.html"].body.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", html) == []


def test_text_is_never_made_into_markup() -> None:
    for name, file in FILES.items():
        assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", file.body.decode()) == [], (
            name
        )


@pytest.mark.parametrize("name", ["nothing.js", "..%2F__init__.py", "index.html%00", "static"])
async def test_what_is_no_file_of_the_page_is_not_there(api, name: str) -> None:
    await api.refused("GET", f"/page/{name}", 404, "no-such-path")


@pytest.mark.parametrize("path", EVERY)
async def test_the_page_needs_no_token(balloons, aiohttp_client, path: str) -> None:
    api = Api(await aiohttp_client(build_app(balloons.registry, Offload(), token="secret")))
    assert (await api.ask("GET", path)).status == 200
    assert (await api.ask("GET", "/page/nothing.js")).status == 401
    assert (await api.ask("GET", "/v1/balloons")).status == 401
