import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from vballoond.errors import OperatorError
from vballoond.http.bodies import MAX_BODY_BYTES
from vballoond.http.large_bodies import AT_ONCE, LargeBodies

LARGE = MAX_BODY_BYTES + 1


def a_request(path: str, length: int | None) -> web.Request:
    headers = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    return make_mocked_request("POST", path, headers, client_max_size=MAX_BODY_BYTES)


@pytest.mark.parametrize(
    ("length", "bound"), [(LARGE, 10 * LARGE), (None, 10 * LARGE), (MAX_BODY_BYTES, MAX_BODY_BYTES)]
)
async def test_a_path_has_its_own_bound_where_the_body_may_need_it(length: int | None, bound: int) -> None:
    bodies = LargeBodies({"/large": 10 * LARGE})
    async with bodies.room(a_request("/large", length)) as request:
        assert request._client_max_size == bound


async def test_no_other_path_has() -> None:
    asked = a_request("/other", LARGE)
    async with LargeBodies({"/large": 10 * LARGE}).room(asked) as request:
        assert request is asked


async def test_few_are_under_way_at_once_and_small_ones_are_not_counted() -> None:
    bodies = LargeBodies({"/large": 10 * LARGE})
    rooms = [bodies.room(a_request("/large", LARGE)) for _ in range(AT_ONCE)]
    for room in rooms:
        await room.__aenter__()
    with pytest.raises(OperatorError, match="try again later") as refused:
        await bodies.room(a_request("/large", None)).__aenter__()
    assert (refused.value.status, refused.value.code) == (429, "busy")
    async with bodies.room(a_request("/large", 100)), bodies.room(a_request("/other", LARGE)):
        pass
    for room in rooms:
        await room.__aexit__(None, None, None)
    async with bodies.room(a_request("/large", LARGE)):
        pass
