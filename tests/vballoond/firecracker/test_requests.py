import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from vballoond.firecracker.bodies import BalloonConfig, BalloonUpdate, HintingStart, StatisticsUpdate, read_body
from vballoond.firecracker.faults import FaultError
from vballoond.firecracker.requests import ShowBalloon, ShowHinting, ShowStatistics, StopHinting, parse

CONFIG_FIELDS = "`amount_mib`, `deflate_on_oom`, `stats_polling_interval_s`, `free_page_hinting`, `free_page_reporting`"
NOT_READ = "An error occurred when deserializing the json body of a request: "


def refused(method: str, target: str, body: bytes = b"") -> str:
    with pytest.raises(FaultError) as caught:
        parse(method, target, body)
    assert caught.value.status == 400
    return caught.value.detail


def not_read(method: str, target: str, body: bytes) -> str:
    said = refused(method, target, body)
    assert said.startswith(NOT_READ)
    assert said.endswith(".")
    return said.removeprefix(NOT_READ)


@pytest.mark.parametrize(
    ("method", "target", "body", "request_"),
    [
        ("GET", "/balloon", b"", ShowBalloon()),
        ("GET", "/balloon/", b"", ShowBalloon()),
        ("GET", "http://localhost/balloon", b"", ShowBalloon()),
        ("GET", "/balloon/statistics", b"", ShowStatistics()),
        ("GET", "/balloon/hinting/status", b"", ShowHinting()),
        ("PATCH", "/balloon", b'{"amount_mib": 4}', BalloonUpdate(amount_mib=4)),
        ("PATCH", "/balloon", b'\n{"amount_mib":4294967295} ', BalloonUpdate(amount_mib=(1 << 32) - 1)),
        (
            "PATCH",
            "/balloon/statistics",
            b'{"stats_polling_interval_s": 65535}',
            StatisticsUpdate(stats_polling_interval_s=65535),
        ),
        ("PATCH", "/balloon/hinting/start", b"", HintingStart(acknowledge_on_stop=True)),
        ("PATCH", "/balloon/hinting/start", b"{}", HintingStart(acknowledge_on_stop=True)),
        ("PATCH", "/balloon/hinting/start", b'{"acknowledge_on_stop": false}', HintingStart(acknowledge_on_stop=False)),
        ("PATCH", "/balloon/hinting/stop", b"", StopHinting()),
        ("PATCH", "/balloon/hinting/stop", b"whatever", StopHinting()),
        (
            "PUT",
            "/balloon",
            b'{"amount_mib": 1, "deflate_on_oom": true}',
            BalloonConfig(amount_mib=1, deflate_on_oom=True),
        ),
    ],
)
def test_every_request_is_known_by_method_path_and_body(
    method: str, target: str, body: bytes, request_: object
) -> None:
    assert parse(method, target, body) == request_


def test_what_put_does_not_say_is_off() -> None:
    config = parse("PUT", "/balloon", b'{"amount_mib": 1, "deflate_on_oom": false}')
    assert (config.stats_polling_interval_s, config.free_page_hinting, config.free_page_reporting) == (0, False, False)


@pytest.mark.parametrize(
    ("method", "target", "body", "said"),
    [
        ("GET", "/", b"", "Invalid request method and/or path: GET ."),
        ("GET", "balloon", b"", "Invalid request method and/or path: GET ."),
        ("GET", "http://localhost", b"", "Invalid request method and/or path: GET ."),
        ("GET", "/version", b"", "Invalid request method and/or path: GET version."),
        ("GET", "/v1/balloons", b"", "Invalid request method and/or path: GET v1."),
        ("GET", "/balloon?x=1", b"", "Invalid request method and/or path: GET balloon?x=1."),
        ("GET", "/balloon/config", b"", "Unrecognized GET request path `config`."),
        ("GET", "/balloon/hinting", b"", "Unrecognized GET request path `/hinting/`."),
        ("GET", "/balloon/hinting/start", b"", "Unrecognized GET request path `/hinting/start`."),
        ("GET", "/balloon", b"{}", "GET request cannot have a body."),
        ("GET", "/elsewhere", b"{}", "GET request cannot have a body."),
        ("PUT", "/balloon", b"", "Empty PUT request."),
        ("PUT", "/elsewhere", b"{}", "Invalid request method and/or path: PUT elsewhere."),
        ("PUT", "/balloon/statistics", b"{}", "Invalid request method and/or path: PUT balloon/statistics."),
        ("PATCH", "/balloon", b"", "Empty PATCH request."),
        ("PATCH", "/balloon/statistics", b"", "Empty PATCH request."),
        ("PATCH", "/elsewhere", b"{}", "Invalid request method and/or path: PATCH elsewhere."),
        ("PATCH", "/balloon/config", b'{"amount_mib": 1}', "Invalid request method and/or path: PATCH balloon/config."),
        ("PATCH", "/balloon/hinting", b"", "Unrecognized PATCH request path `/hinting/`."),
        ("PATCH", "/balloon/hinting/status", b"", "Unrecognized PATCH request path `/hinting/status`."),
        ("DELETE", "/balloon", b"", "Invalid request method and/or path: DELETE balloon."),
        ("DELETE", "/balloon", b"{}", "Empty Delete request."),
        ("POST", "/balloon", b"{}", "Invalid HTTP Method: Unsupported HTTP method."),
        ("HEAD", "/balloon", b"", "Invalid HTTP Method: Unsupported HTTP method."),
        ("get", "/balloon", b"", "Invalid HTTP Method: Unsupported HTTP method."),
    ],
)
def test_what_there_is_not_is_refused_in_firecrackers_words(method: str, target: str, body: bytes, said: str) -> None:
    assert refused(method, target, body) == said


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("amount_mib", '"bar"', "u32"),
        ("amount_mib", "-1000", "u32"),
        ("amount_mib", "4294967296", "u32"),
        ("amount_mib", "4.0", "u32"),
        ("amount_mib", "true", "u32"),
        ("amount_mib", "null", "u32"),
        ("amount_mib", "[4]", "u32"),
        ("amount_mib", "NaN", "u32"),
    ],
)
def test_an_amount_of_the_wrong_type_or_size_is_refused(method: str, field: str, value: str, kind: str) -> None:
    rest = ', "deflate_on_oom": true' if method == "PUT" else ""
    said = not_read(method, "/balloon", f'{{"{field}": {value}{rest}}}'.encode())
    assert said.startswith(f"invalid value of field `{field}`: expected {kind}, not ")


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("deflate_on_oom", "1", "a boolean"),
        ("deflate_on_oom", '"true"', "a boolean"),
        ("stats_polling_interval_s", "65536", "u16"),
        ("stats_polling_interval_s", '"false"', "u16"),
        ("free_page_hinting", "0", "a boolean"),
        ("free_page_reporting", "null", "a boolean"),
    ],
)
def test_a_field_of_the_wrong_type_is_refused(field: str, value: str, kind: str) -> None:
    fields = {"amount_mib": "1", "deflate_on_oom": "true", field: value}
    body = "{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}"
    assert not_read("PUT", "/balloon", body.encode()).startswith(f"invalid value of field `{field}`: expected {kind}")


def test_an_interval_is_refused_in_a_change_of_the_amount_whatever_the_manual_says() -> None:
    said = not_read("PATCH", "/balloon", b'{"amount_mib": 4, "stats_polling_interval_s": 5}')
    assert said == "unknown field `stats_polling_interval_s`, expected `amount_mib`."


@pytest.mark.parametrize(
    ("method", "target", "body", "said"),
    [
        ("PUT", "/balloon", b'{"deflate_on_oom": true}', "missing field `amount_mib`."),
        ("PUT", "/balloon", b'{"amount_mib": 1}', "missing field `deflate_on_oom`."),
        ("PATCH", "/balloon", b"{}", "missing field `amount_mib`."),
        ("PATCH", "/balloon/statistics", b"{}", "missing field `stats_polling_interval_s`."),
        (
            "PUT",
            "/balloon",
            b'{"amount_mib": 1, "deflate_on_oom": true, "must_tell_host": true}',
            f"unknown field `must_tell_host`, expected one of {CONFIG_FIELDS}.",
        ),
        ("PATCH", "/balloon", b'{"amount_mib": 1, "amount_mib": 2}', "duplicate field `amount_mib`."),
        ("PATCH", "/balloon", b"[4]", "invalid type: list, expected an object."),
        ("PATCH", "/balloon", b"4", "invalid type: int, expected an object."),
        ("PATCH", "/balloon", b"invalid_payload", "Expecting value at line 1 column 1."),
        ("PATCH", "/balloon", b'{"amount_mib": 1} x', "Extra data at line 1 column 19."),
        ("PATCH", "/balloon", b'{"amount_mib": \xff}', "invalid UTF-8 at byte 15."),
        ("PATCH", "/balloon", '{"amount_mib": 1}'.encode("utf-16"), "invalid UTF-8 at byte 0."),
        ("PATCH", "/balloon", b"[" * 40000, "recursion limit exceeded."),
        ("PATCH", "/balloon", b'{"amount_mib": ' + b"9" * 5000 + b"}", "number out of range."),
    ],
)
def test_what_is_not_the_object_that_is_due_is_refused(method: str, target: str, body: bytes, said: str) -> None:
    assert not_read(method, target, body) == said


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PATCH", "/balloon", b'{"' + b"x" * 50000 + b'": 1, "amount_mib": 1}'),
        ("PATCH", "/balloon", b'{"amount_mib": "' + b"x" * 50000 + b'"}'),
        ("PATCH", "/balloon", b'{"' + b"x" * 20000 + b'": 1, "' + b"x" * 20000 + b'": 1}'),
        ("GET", "/" + "x" * 8000, b""),
        ("GET", "/balloon/hinting/" + "x" * 8000, b""),
    ],
)
def test_what_was_sent_is_repeated_in_short(method: str, target: str, body: bytes) -> None:
    assert len(refused(method, target, body)) < 300


@given(
    st.sampled_from(["GET", "PUT", "PATCH", "DELETE", "POST", ""]),
    st.sampled_from(["/balloon", "/balloon/statistics", "/balloon/hinting/start", "//", "*", "http://"]) | st.text(),
    st.sampled_from([b"", b"{}"]) | st.binary() | st.recursive(st.none(), st.lists).map(lambda x: repr(x).encode()),
)
@examples(200)
def test_whatever_is_sent_is_a_request_or_a_fault(method: str, target: str, body: bytes) -> None:
    fault = None
    try:
        parse(method, target, body)
    except FaultError as error:
        fault = error.detail
    assert fault is None or 0 < len(fault) < 500


@given(st.integers(-10, 1 << 33))
@examples(200)
def test_an_amount_is_any_u32_and_nothing_else(amount_mib: int) -> None:
    body = f'{{"amount_mib": {amount_mib}}}'.encode()
    if 0 <= amount_mib < 1 << 32:
        assert read_body(body, BalloonUpdate).amount_mib == amount_mib
    else:
        not_read("PATCH", "/balloon", body)
