from pathlib import Path

import pytest
from pydantic import ValidationError

from protocol.balloon.features import BalloonFeature
from vballoond.config.models import BalloonSettings, HttpSettings, Settings, embedded_default

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
GUEST = {"name": "demo", "transport": "in-process", "memory": "1GiB"}
MACHINE = {"name": "vm1", "transport": "vhost-user", "socket": "vm1.sock"}


def balloon(base: dict[str, object], **keys: object) -> BalloonSettings:
    return BalloonSettings.model_validate({**base, **keys})


def refused(base: dict[str, object], **keys: object) -> str:
    with pytest.raises(ValidationError) as caught:
        balloon(base, **keys)
    return str(caught.value)


def test_the_embedded_default_is_one_modelled_guest_of_a_gibibyte() -> None:
    settings = embedded_default()
    assert settings.http.listen == "127.0.0.1:8750"
    assert settings.log.level == "info"
    assert [(guest.name, guest.transport, guest.memory) for guest in settings.balloon] == [("demo", "in-process", GIB)]


def test_what_is_not_said_has_its_default() -> None:
    machine = balloon(MACHINE)
    assert machine.ring == "split"
    assert machine.features == ("must-tell-host", "stats", "page-poison")
    assert machine.stats_interval_s == 5
    assert machine.discard is True
    assert machine.require_sealed_memory is False
    assert machine.socket_mode == 0o600
    assert (machine.memory, machine.min, machine.max, machine.socket_group) == (None, 0, None, None)
    http = HttpSettings()
    assert (http.hosts, http.token_file) == ((), None)


@pytest.mark.parametrize("name", ["demo", "0", "a.b_c-d", "x" * 64])
def test_a_name_is_short_and_plain(name: str) -> None:
    assert balloon(GUEST, name=name).name == name


@pytest.mark.parametrize("name", ["", "Demo", "-demo", ".demo", "_demo", "de mo", "demo/", "démo", "x" * 65, "demo\n"])
def test_a_name_that_is_not_is_refused(name: str) -> None:
    refused(GUEST, name=name)


@pytest.mark.parametrize(("text", "size"), [("16MiB", 16 * MIB), ("1.5GiB", 3 * GIB // 2), ("1 TiB", TIB)])
def test_sizes_are_written_with_a_unit(text: str, size: int) -> None:
    assert balloon(GUEST, memory=text).memory == size


@pytest.mark.parametrize("value", [1073741824, 1.5, True, "1G", "1GB", "1gib", "-1GiB", "1", "", ["1GiB"]])
def test_sizes_without_a_unit_are_refused_with_what_would_be_right(value: object) -> None:
    assert "KiB, MiB, GiB or TiB" in refused(GUEST, memory=value)


@pytest.mark.parametrize("memory", ["16MiB", "1TiB"])
def test_a_modelled_guest_has_memory_within_bounds(memory: str) -> None:
    assert balloon(GUEST, memory=memory)


@pytest.mark.parametrize("keys", [{"memory": "15.9MiB"}, {"memory": "1.1TiB"}, {"memory": "0MiB"}])
def test_a_modelled_guest_beyond_them_is_refused(keys: dict[str, object]) -> None:
    assert "needs 'memory', from 16MiB to 1TiB" in refused(GUEST, **keys)


def test_a_modelled_guest_needs_memory_and_has_no_socket() -> None:
    assert "needs 'memory'" in refused({"name": "demo", "transport": "in-process"})
    assert "has no 'socket'" in refused(GUEST, socket="demo.sock")


def test_a_virtual_machine_needs_a_socket() -> None:
    assert "needs 'socket'" in refused({"name": "vm1", "transport": "vhost-user"})
    assert balloon(MACHINE, memory="64MiB").memory == 64 * MIB


@pytest.mark.parametrize("transport", ["", "vhost", "In-Process", 1])
def test_another_transport_is_refused(transport: object) -> None:
    refused(GUEST, transport=transport)


@pytest.mark.parametrize(("mode", "bits"), [("0660", 0o660), ("600", 0o600), ("0777", 0o777), ("0", 0)])
def test_a_socket_mode_is_octal(mode: str, bits: int) -> None:
    assert balloon(MACHINE, socket_mode=mode).socket_mode == bits


@pytest.mark.parametrize("mode", [660, 0o660, "0888", "", "-1", "rw", "1777", "0o660", "٦٦٠"])
def test_a_socket_mode_that_is_not_is_refused(mode: object) -> None:
    assert "octal digits" in refused(MACHINE, socket_mode=mode)


def test_features_are_offered_as_configured() -> None:
    assert balloon(MACHINE).offered == (
        BalloonFeature.MUST_TELL_HOST | BalloonFeature.STATS_VQ | BalloonFeature.PAGE_POISON
    )
    assert balloon(MACHINE, features=[]).offered == BalloonFeature(0)
    assert balloon(MACHINE, features=["deflate-on-oom"]).offered == BalloonFeature.DEFLATE_ON_OOM


@pytest.mark.parametrize("features", [["stat"], ["STATS"], "stats", [1], None])
def test_a_feature_that_nobody_knows_is_refused(features: object) -> None:
    refused(MACHINE, features=features)


@pytest.mark.parametrize("interval_s", [0, 0.1, 0.5, 86400])
def test_statistics_are_asked_for_at_most_daily(interval_s: float) -> None:
    assert balloon(MACHINE, stats_interval_s=interval_s).stats_interval_s == interval_s


@pytest.mark.parametrize("interval_s", [-1, 0.09, 86401, float("nan"), float("inf"), "soon", None])
def test_an_interval_beyond_that_is_refused(interval_s: object) -> None:
    refused(MACHINE, stats_interval_s=interval_s)


def test_a_largest_balloon_below_the_smallest_is_refused() -> None:
    assert balloon(MACHINE, min="1MiB", max="1MiB").max == MIB
    assert "'max' (1048576 bytes) is below 'min' (2097152 bytes)" in refused(MACHINE, min="2MiB", max="1MiB")


def test_another_ring_is_refused() -> None:
    refused(MACHINE, ring="round")


@pytest.mark.parametrize(
    ("section", "content"),
    [
        (Settings, {"htp": {}}),
        (Settings, {"http": {"port": 1}}),
        (Settings, {"log": {"levels": "info"}}),
        (BalloonSettings, {**MACHINE, "colour": "red"}),
    ],
)
def test_a_key_that_nobody_knows_is_refused(section: type, content: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        section.model_validate(content)


@pytest.mark.parametrize("level", ["loud", "INFO", "critical", 20])
def test_another_log_level_is_refused(level: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"log": {"level": level}})


def test_two_balloons_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="there are two balloons named 'demo'"):
        Settings.model_validate({"balloon": [GUEST, {**MACHINE, "name": "demo"}]})


def test_there_may_be_no_balloons() -> None:
    assert Settings().balloon == ()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        balloon(GUEST).name = "other"


def test_who_may_use_the_apis_socket_is_of_a_unix_socket() -> None:
    http = HttpSettings.model_validate({"listen": "unix:api.sock", "socket_mode": "0600", "socket_group": "vballoond"})
    assert (http.socket_mode, http.socket_group) == (0o600, "vballoond")
    assert HttpSettings(listen="unix:api.sock").socket_mode == 0o660
    for key, value in (("socket_mode", "0600"), ("socket_group", "vballoond")):
        with pytest.raises(ValidationError, match="are of a Unix socket"):
            HttpSettings.model_validate({key: value})


def test_a_token_that_only_reads_is_beside_one_that_may_do_everything() -> None:
    HttpSettings(token_file=Path("token"), read_token_file=Path("read-token"))
    with pytest.raises(ValidationError, match="'token_file' is missing"):
        HttpSettings(read_token_file=Path("read-token"))
