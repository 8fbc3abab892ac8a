from pathlib import Path
from typing import Any

import pytest

from vballoond.config.bounds import MOST_ADDED, admit
from vballoond.config.models import BalloonSettings, HttpSettings
from vballoond.errors import OperatorError

GIB = 1 << 30
HTTP = HttpSettings.model_validate({"socket_directory": "/run/balloons", "max_inprocess_memory": "1GiB"})


def vm(socket: str = "vm1.sock", **keys: Any) -> BalloonSettings:
    return BalloonSettings.model_validate({"name": "vm1", "transport": "vhost-user", "socket": socket, **keys})


def model(memory: str = "16MiB", **keys: Any) -> BalloonSettings:
    return BalloonSettings.model_validate({"name": "m1", "transport": "in-process", "memory": memory, **keys})


def refused(code: str, settings: BalloonSettings, *added: BalloonSettings, http: HttpSettings = HTTP) -> OperatorError:
    with pytest.raises(OperatorError) as caught:
        admit(settings, http, added)
    assert (caught.value.status, caught.value.code) == (422, code)
    return caught.value


@pytest.mark.parametrize(
    "socket", ["vm1.sock", "/run/balloons/vm1.sock", "./vm1.sock", "../balloons/vm1.sock", "/run//balloons/./vm1.sock"]
)
def test_a_socket_in_the_directory_is_admitted_with_its_whole_path(socket: str) -> None:
    assert admit(vm(socket), HTTP, ()).socket == Path("/run/balloons/vm1.sock")


@pytest.mark.parametrize(
    "socket", ["../vm1.sock", "/run/vm1.sock", "a/vm1.sock", "/run/balloons", ".", "a/../../b", "v\0"]
)
def test_a_socket_elsewhere_is_refused(socket: str) -> None:
    refused("socket-out-of-place", vm(socket))


@pytest.mark.parametrize("settings", [vm(), model(firecracker_socket="fc.sock")])
def test_without_a_directory_nothing_that_listens_is_admitted(settings: BalloonSettings) -> None:
    assert "http.socket_directory" in refused("no-socket-directory", settings, http=HttpSettings()).detail


def test_a_socket_for_firecracker_is_bound_to_the_same_place() -> None:
    admitted = admit(model(firecracker_socket="fc.sock"), HTTP, ())
    assert admitted.firecracker_socket == Path("/run/balloons/fc.sock")
    refused("socket-out-of-place", model(firecracker_socket="/tmp/fc.sock"))


def test_models_are_admitted_up_to_the_memory_that_they_may_have_together() -> None:
    assert admit(model("1GiB"), HTTP, ()).memory == GIB
    assert admit(model("512MiB"), HTTP, [model("512MiB"), vm(memory="8GiB")]).memory == GIB // 2
    assert refused("memory-out-of-range", model("768MiB"), model("512MiB")).extra == {"limit_bytes": GIB // 2}


def test_where_more_is_there_already_nothing_is_left() -> None:
    assert refused("memory-out-of-range", model(), model("2GiB")).extra == {"limit_bytes": 0}


@pytest.mark.parametrize("workload", ["/etc/passwd", "load.toml", "../x", "a/b"])
def test_files_cannot_be_read_through_the_api(workload: str) -> None:
    refused("file-workload", model(workload=workload))


def test_a_workload_by_its_name_is_admitted() -> None:
    assert admit(model(workload="desktop"), HTTP, ()).workload == "desktop"


def test_there_is_a_bound_on_their_number() -> None:
    refused("too-many-balloons", vm(), *[vm()] * MOST_ADDED)
    assert admit(vm(), HTTP, [vm()] * (MOST_ADDED - 1))
