from pathlib import Path

import pytest

from vballoond.config.load import key_name, load_settings
from vballoond.config.policy import GuardSettings
from vballoond.errors import StartError

GUEST = """
[[balloon]]
name = "demo"
transport = "in-process"
memory = "1GiB"
"""

MACHINE = """
[[balloon]]
name = "vm1"
transport = "vhost-user"
socket = "run/vm1.sock"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vballoond.toml"


def refused(file: Path, content: str | bytes | None) -> str:
    """Load what cannot be; return what is said of it, which names the file."""
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StartError) as caught:
        load_settings(file)
    assert caught.value.exit_status == 2
    assert str(file) in caught.value.detail
    return caught.value.detail


def test_an_empty_file_is_all_defaults(file: Path) -> None:
    file.write_text("")
    settings = load_settings(file)
    assert settings.http.listen == "127.0.0.1:8750"
    assert settings.balloon == ()


def test_every_key_that_is_written_is_read(file: Path) -> None:
    file.write_text("""
        [http]
        listen = "unix:/run/api.sock"
        hosts = ["balloons.example"]
        token_file = "/etc/token"
        read_token_file = "/etc/read-token"
        socket_mode = "0600"
        socket_group = "kvm"
        socket_directory = "/run/vballoond"
        max_inprocess_memory = "2GiB"
        [state]
        directory = "/var/lib/vballoond"
        [log]
        level = "debug"
        [policy]
        name = "watermark"
        settings = {samples = 3}
        directory = "/etc/vballoond/policies"
        interval_s = 5
        time_limit_s = 1
        memory_limit = "256MiB"
        reserve = "1GiB"
        by_hand_s = 60
        [policy.guard]
        step = "128MiB"
        new_for_s = 10
        [[balloon]]
        name = "vm1"
        shares = 7
        priority = -1
        transport = "vhost-user"
        socket = "/run/vm1.sock"
        socket_mode = "0660"
        socket_group = "kvm"
        firecracker_socket = "/run/vm1.firecracker"
        ring = "split"
        features = ["stats", "deflate-on-oom"]
        stats_interval_s = 2.5
        discard = false
        require_sealed_memory = true
        memory = "2GiB"
        min = "16MiB"
        max = "1GiB"
    """)
    settings = load_settings(file)
    assert settings.model_dump() == {
        "http": {
            "listen": "unix:/run/api.sock",
            "hosts": ("balloons.example",),
            "token_file": Path("/etc/token"),
            "read_token_file": Path("/etc/read-token"),
            "socket_mode": 0o600,
            "socket_group": "kvm",
            "socket_directory": Path("/run/vballoond"),
            "max_inprocess_memory": 2 << 30,
        },
        "state": {"directory": Path("/var/lib/vballoond")},
        "log": {"level": "debug"},
        "policy": {
            "name": "watermark",
            "settings": {"samples": 3},
            "directory": Path("/etc/vballoond/policies"),
            "interval_s": 5,
            "time_limit_s": 1,
            "memory_limit": 256 << 20,
            "reserve": 1 << 30,
            "by_hand_s": 60,
            "guard": GuardSettings(step="128MiB", new_for_s=10).model_dump(),
        },
        "balloon": (
            {
                "name": "vm1",
                "transport": "vhost-user",
                "socket": Path("/run/vm1.sock"),
                "socket_mode": 0o660,
                "socket_group": "kvm",
                "firecracker_socket": Path("/run/vm1.firecracker"),
                "ring": "split",
                "features": ("stats", "deflate-on-oom"),
                "stats_interval_s": 2.5,
                "discard": False,
                "require_sealed_memory": True,
                "memory": 2 << 30,
                "min": 16 << 20,
                "max": 1 << 30,
                "shares": 7,
                "priority": -1,
                "workload": None,
                "interface": "2022",
            },
        ),
    }


def test_the_keys_of_a_modelled_guest_are_read(file: Path) -> None:
    file.write_text(GUEST + 'workload = "mine/load.toml"\ninterface = "2012"\n')
    (balloon,) = load_settings(file).balloon
    assert balloon.workload == str(file.parent / "mine/load.toml")
    assert balloon.interface == "2012"


def test_a_shipped_workload_is_no_path(file: Path) -> None:
    file.write_text(GUEST + 'workload = "build"\n')
    (balloon,) = load_settings(file).balloon
    assert balloon.workload == "build"


@pytest.mark.parametrize("key", ['workload = "build"', 'interface = "2022"'])
def test_a_virtual_machine_runs_what_it_runs(file: Path, key: str) -> None:
    file.write_text(MACHINE + key + "\n")
    with pytest.raises(StartError, match="'workload' and 'interface' are of transport 'in-process'"):
        load_settings(file)


def test_balloons_keep_their_order(file: Path) -> None:
    file.write_text(MACHINE + GUEST)
    assert [balloon.name for balloon in load_settings(file).balloon] == ["vm1", "demo"]


def test_relative_paths_are_relative_to_the_file(file: Path, tmp_path: Path) -> None:
    file.write_text(
        '[http]\nlisten = "unix:api.sock"\ntoken_file = "secrets/token"\nread_token_file = "read"\n' + MACHINE + GUEST
    )
    settings = load_settings(file)
    assert settings.http.listen == f"unix:{tmp_path}/api.sock"
    assert settings.http.token_file == tmp_path / "secrets/token"
    assert settings.http.read_token_file == tmp_path / "read"
    assert [balloon.socket for balloon in settings.balloon] == [tmp_path / "run/vm1.sock", None]


def test_the_path_of_a_firecracker_shaped_socket_is_relative_to_the_file(file: Path, tmp_path: Path) -> None:
    key = 'firecracker_socket = "run//fc.sock"\n'
    file.write_text(MACHINE + key + GUEST + key.replace("fc", "demo") + 'workload = "mine/load.toml"\n')
    machine, guest = load_settings(file).balloon
    assert (machine.socket, machine.firecracker_socket) == (tmp_path / "run/vm1.sock", tmp_path / "run/fc.sock")
    assert (guest.socket, guest.firecracker_socket) == (None, tmp_path / "run/demo.sock")
    assert guest.workload == str(tmp_path / "mine/load.toml")


def test_relative_paths_do_not_depend_on_where_the_daemon_was_started(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(MACHINE)
    monkeypatch.chdir(tmp_path)
    assert load_settings(Path("vballoond.toml")).balloon[0].socket == tmp_path / "run/vm1.sock"


def test_absolute_paths_are_left_as_they_are(file: Path) -> None:
    file.write_text('[http]\nlisten = "unix:/run/api.sock"\n')
    assert load_settings(file).http.listen == "unix:/run/api.sock"


def test_a_file_that_is_not_there_is_an_error(file: Path) -> None:
    assert "No such file or directory" in refused(file, None)


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    assert "Is a directory" in refused(tmp_path, None)


@pytest.mark.parametrize("content", ["[http", "listen = ", 'a = "\n"', b"\xff\xfe", "[http]\n[http]\n"])
def test_what_is_not_toml_is_an_error(file: Path, content: str | bytes) -> None:
    assert "is not TOML" in refused(file, content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[http]\nlissten = "127.0.0.1:1"', "http.lissten: unknown key"),
        ("[htttp]\n", "htttp: unknown key"),
        ("colour = 1", "colour: unknown key"),
        (GUEST + 'colour = "red"', "balloon[0].colour: unknown key"),
        (GUEST + MACHINE + 'sockets = "x"', "balloon[1].sockets: unknown key"),
        ('[[balloon]]\ntransport = "in-process"\nmemory = "1GiB"', "balloon[0].name: this key is missing"),
        (GUEST.replace("1GiB", "1GB"), "balloon[0].memory: '1GB' is not a size"),
        (GUEST.replace('"1GiB"', "1024"), "balloon[0].memory: a size is a string"),
        (GUEST.replace("demo", "De mo"), "balloon[0].name: "),
        (MACHINE + 'features = ["stat"]', "balloon[0].features[0]: "),
        (MACHINE + "socket_mode = 660", "balloon[0].socket_mode: a socket mode is a string of octal digits"),
        ('[http]\nhosts = "localhost"', "http.hosts: "),
        ('[log]\nlevel = "loud"', "log.level: "),
        ("balloon = 5", "balloon: "),
        ("http = 5", "http: "),
        ('[balloon]\nname = "demo"', "balloon: a list is due here"),
        (GUEST + GUEST, "the whole file: there are two balloons named 'demo'"),
        (MACHINE + GUEST.replace("demo", "vm1"), "the whole file: there are two balloons named 'vm1'"),
        (MACHINE.replace('socket = "run/vm1.sock"', ""), "balloon[0]: transport 'vhost-user' needs 'socket'"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(file: Path, content: str, said: str) -> None:
    assert said in refused(file, content)


@pytest.mark.parametrize("other", ["run/vm1.sock", "./run/vm1.sock", "run/../run//vm1.sock"])
def test_two_balloons_on_one_socket_are_refused_however_it_is_written(file: Path, other: str) -> None:
    content = MACHINE + MACHINE.replace("run/vm1.sock", other).replace('"vm1"', '"vm2"')
    assert "there are two balloons with the socket" in refused(file, content)


@pytest.mark.parametrize("balloons", [MACHINE, GUEST + 'firecracker_socket = "run/vm1.sock"\n' + MACHINE])
def test_a_firecracker_shaped_socket_is_nobody_elses(file: Path, balloons: str) -> None:
    content = balloons + 'firecracker_socket = "./run/vm1.sock"\n'
    assert "there are two balloons with the socket" in refused(file, content)


def test_all_that_is_wrong_is_said_at_once(file: Path) -> None:
    said = refused(file, '[http]\nlissten = "x"\n[log]\nlevel = "loud"\n' + GUEST.replace("1GiB", "much"))
    assert [line.partition(":")[0].strip() for line in said.splitlines()[1:]] == [
        "http.lissten",
        "log.level",
        "balloon[0].memory",
    ]


def test_what_is_wrong_of_a_balloon_as_a_whole_does_not_repeat_all_of_it(file: Path) -> None:
    said = refused(file, MACHINE.replace('socket = "run/vm1.sock"', ""))
    assert "{" not in said


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ((), "the whole file"),
        (("http", "listen"), "http.listen"),
        (("balloon", 0, "memory"), "balloon[0].memory"),
        (("balloon", 1, "features", 2), "balloon[1].features[2]"),
    ],
)
def test_a_key_is_named_as_a_person_writes_it(location: tuple[object, ...], name: str) -> None:
    assert key_name(location) == name
