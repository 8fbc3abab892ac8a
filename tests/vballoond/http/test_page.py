import re


async def test_the_page_links_to_what_there_is(api) -> None:
    answer = await api.ask("GET", "/")
    assert answer.status == 200
    links = re.findall(r'href="([^"]+)"', answer.body.decode())
    assert "/v1/balloons" in links
    for link in links:
        assert (await api.ask("GET", link)).status == 200


async def test_the_page_may_load_nothing_from_elsewhere(api) -> None:
    answer = await api.ask("GET", "/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert b"http-equiv" not in answer.body
