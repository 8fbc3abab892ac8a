"""``vballoond list``, ``show``, ``add`` and ``remove``: which balloons there are."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..added_balloon import read_balloon_file
from ..client import DEFAULT_API, ClientError, RefusedError, balloon_path
from ..options import Api, Json, Name, TokenFile, client_of
from ..output import console, print_json
from ..tables import print_balloon, print_balloons


def list_balloons(api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List the balloons."""
    listing = client_of(api, token_file).get("/v1/balloons").json("balloons")
    if as_json:
        print_json(listing)
        return
    print_balloons(console(), listing["balloons"])
    if not listing["balloons"]:
        print("none yet: 'vballoond add NAME --memory 1GiB' adds a modelled guest, --socket PATH a virtual machine's")


def show(name: Name, api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Show one balloon."""
    balloon = client_of(api, token_file).get(balloon_path(name)).json("resize")
    if as_json:
        print_json(balloon)
    else:
        print_balloon(console(), balloon)


def _key(option: str, value: str, meaning: str, least: float | None = None) -> Any:
    return typer.Option(option, metavar=value, help=meaning, min=least)


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="its name: a-z and 0-9, and behind the first also . _ -")],
    file: Annotated[
        Path | None,
        _key("--file", "FILE", "its keys in TOML or JSON, as the configuration has them; options go over it"),
    ] = None,
    transport: Annotated[
        str | None, _key("--transport", "KIND", "vhost-user (the default with --socket) or in-process")
    ] = None,
    memory: Annotated[str | None, _key("--memory", "SIZE", "the guest's memory, such as 1GiB")] = None,
    socket: Annotated[str | None, _key("--socket", "PATH", "where the VM monitor connects")] = None,
    socket_mode: Annotated[str | None, _key("--socket-mode", "MODE", "such as 0660")] = None,
    socket_group: Annotated[str | None, _key("--socket-group", "GROUP", "who may connect beside the owner")] = None,
    firecracker_socket: Annotated[
        str | None, _key("--firecracker-socket", "PATH", "where an API in Firecracker's shapes answers")
    ] = None,
    ring: Annotated[str | None, _key("--ring", "FORMAT", "split (the default) or packed")] = None,
    feature: Annotated[
        list[str] | None, _key("--feature", "NAME", "offer this one and no others; may be repeated")
    ] = None,
    stats_interval_s: Annotated[
        float | None, _key("--stats-interval", "S", "seconds between statistics; 0: none", least=0)
    ] = None,
    no_discard: Annotated[bool, typer.Option("--no-discard", help="never give pages back to the host")] = False,
    require_sealed_memory: Annotated[
        bool, typer.Option("--require-sealed-memory", help="refuse memory that can be truncated")
    ] = False,
    least: Annotated[str | None, _key("--min", "SIZE", "the smallest size that it is to have")] = None,
    most: Annotated[str | None, _key("--max", "SIZE", "the largest; the guest's memory without it")] = None,
    workload: Annotated[str | None, _key("--workload", "NAME", "what runs in a modelled guest, such as build")] = None,
    interface: Annotated[str | None, _key("--interface", "YEAR", "of a modelled guest: 2012, 2022 or 2026")] = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Add a balloon to the running daemon.

    The options are the keys that the configuration has for a balloon; what is not given is as there.
    """
    given = {
        "transport": transport,
        "memory": memory,
        "socket": socket,
        "socket_mode": socket_mode,
        "socket_group": socket_group,
        "firecracker_socket": firecracker_socket,
        "ring": ring,
        "features": feature or None,
        "stats_interval_s": stats_interval_s,
        "discard": False if no_discard else None,
        "require_sealed_memory": True if require_sealed_memory else None,
        "min": least,
        "max": most,
        "workload": workload,
        "interface": interface,
    }
    body = _body(name, {} if file is None else read_balloon_file(file, name), given)
    balloon = client_of(api, token_file).post("/v1/balloons", body).json("name", "resize")
    if as_json:
        print_json(balloon)
    else:
        print_balloon(console(), balloon)


def _body(name: str, written: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    keys = written | {key: value for key, value in given.items() if value is not None}
    keys.setdefault("transport", "vhost-user" if "socket" in keys else "in-process")
    return {"name": name, **keys}


def remove(
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="also while a VM is connected: retired, and served until the VM goes")
    ] = False,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Remove a balloon from the running daemon."""
    try:
        client_of(api, token_file).delete(balloon_path(name, "?force=true" if force else ""))
    except RefusedError as error:
        if error.status != 409 or force:
            raise
        retire = f"'vballoond remove {name} --force' retires it: target 0, and served until the VM goes"
        raise ClientError(str(error), f"shut its VM down first; or {retire}") from error
    if as_json:
        print_json({"name": name, "removed": True})
    else:
        print(f"{name}: removed")
