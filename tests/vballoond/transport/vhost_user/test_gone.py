from structlog.testing import capture_logs
from support.backend_rig import backend_rig


async def test_a_connection_that_ended_is_one_line_that_says_why_and_how_long_it_was() -> None:
    with capture_logs() as logs:
        async with backend_rig() as rig:
            await rig.disconnect(rig.connect())
    (line,) = [line for line in logs if line["event"] == "front-end gone"]
    assert (line["balloon"], line["log_level"]) == ("vm1", "info")
    assert line["reason"] == "it closed the connection"
    assert line["duration_s"] >= 0
