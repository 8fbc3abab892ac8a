import pytest

DEMO = "/v1/balloons/demo"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b'{"target_mib": 1} trailing', "not-json"),
        (b"\xff\xfe\x00", "not-json"),
        (b"[" * 60_000, "not-json"),
        (b"null", "not-an-object"),
        (b"5", "not-an-object"),
        (b"[]", "not-an-object"),
        (b'"target_mib"', "not-an-object"),
        (b'"\\ud800"', "not-an-object"),
        (b'{"\\ud800": 1}', "invalid-body"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(api, balloons, body: bytes, code: str) -> None:
    await api.refused("PATCH", DEMO, 400, code, data=body, headers=JSON)
    assert balloons.demo.resizing.current is None


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "give exactly one of target_mib and target_bytes"),
        ({"target_mib": 1, "target_bytes": 1}, "give exactly one of target_mib and target_bytes"),
        ({"target_mib": None}, "give exactly one of target_mib and target_bytes"),
        ({"target_mb": 1}, "target_mb: unknown field"),
        ({"target_mib": 1, "wait": True}, "wait: unknown field"),
        ({"target_mib": "1"}, "target_mib: Input should be a valid integer"),
        ({"target_mib": 1.0}, "target_mib: Input should be a valid integer"),
        ({"target_mib": 1.5}, "target_mib: Input should be a valid integer"),
        ({"target_mib": True}, "target_mib: Input should be a valid integer"),
        ({"target_mib": [1]}, "target_mib: Input should be a valid integer"),
    ],
)
async def test_fields_that_are_wrong_are_refused_and_named(api, balloons, body: object, detail: str) -> None:
    problem = await api.refused("PATCH", DEMO, 400, "invalid-body", json=body)
    assert detail in problem["detail"]
    assert balloons.demo.resizing.current is None


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"interval_s": "5"}',
        b'{"interval_s": true}',
        b'{"interval_s": NaN}',
        b'{"interval_s": Infinity}',
        b'{"interval_s": 1e999}',
        b'{"interval_s": null}',
        b'{"interval": 5}',
    ],
)
async def test_an_interval_that_is_no_number_is_refused(api, balloons, body: bytes) -> None:
    await api.refused("PATCH", f"{DEMO}/statistics", 400, "invalid-body", data=body, headers=JSON)
    assert balloons.demo.statistics_interval_s == 0


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/octet-stream", "application/x-www-form-urlencoded"]
)
async def test_another_content_type_is_refused(api, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    problem = await api.refused("PATCH", DEMO, 415, "not-json", data=b'{"target_mib": 1}', headers=headers)
    assert content_type in problem["detail"]


async def test_a_body_without_a_content_type_is_refused(api) -> None:
    await api.refused("PATCH", DEMO, 415, "not-json")


async def test_json_may_name_its_character_set(api) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = await api.ask("PATCH", DEMO, data=b'{"target_mib": 1}', headers=headers)
    assert answer.status == 202


async def test_a_body_larger_than_any_is_refused(api) -> None:
    body = b'{"target_mib": 1' + b" " * (64 << 10) + b"}"
    await api.refused("PATCH", DEMO, 413, "too-large", data=body, headers=JSON)


async def test_a_body_as_large_as_allowed_is_read(api) -> None:
    body = b'{"target_mib": 1}'.ljust(64 << 10)
    answer = await api.ask("PATCH", DEMO, data=body, headers=JSON)
    assert answer.status == 202


@pytest.mark.parametrize("encoding", ["deflate", "gzip"])
async def test_a_body_that_is_not_encoded_as_it_says_is_refused(api, encoding: str) -> None:
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    answer = await api.ask("PATCH", "/v1/balloons/demo", data=b"not compressed", headers=headers, compress=None)
    assert answer.status == 400
