"""Where the API listens: a TCP address or a Unix socket, as ``http.listen`` says."""

import errno
import ipaddress
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..config.models import HttpSettings
from ..errors import StartError
from ..unix_socket import UnixListener, discard, set_mode_and_group
from .tokens import Tokens, read_tokens


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed ``http.listen``: ``path`` of a Unix socket, or ``host`` and ``port``."""

    host: str | None = None
    port: int = 0
    path: Path | None = None


def parse_listen(text: str) -> Address:
    """Return what ``text`` means: ``unix:PATH``, ``HOST:PORT`` or ``[IPV6]:PORT``.

    Raises:
        StartError: It is neither; exit status 2.
    """
    if text.startswith("unix:") and text != "unix:":
        return Address(path=Path(text.removeprefix("unix:")))
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535 or (":" in host and host[0] != "["):
        raise StartError(
            f"http.listen = {text!r}: write '127.0.0.1:8750', '[::1]:8750' or 'unix:/path/api.sock'", exit_status=2
        )
    return Address(host=host, port=int(port))


def check_http(settings: HttpSettings) -> tuple[Address, Tokens]:
    """Return the address and the tokens, as far as they can be told without listening there.

    Raises:
        StartError: The address is malformed or would be open to all without a token, or a token cannot be read; exit
            status 2.
    """
    address = parse_listen(settings.listen)
    _refuse_open(settings, address)
    return address, read_tokens(settings.token_file, settings.read_token_file)


def open_api_socket(
    settings: HttpSettings, stack: ExitStack, left: socket.socket | None = None
) -> tuple[socket.socket, Address]:
    """Return the listening socket of the API and its address; ``stack`` closes and removes it.

    Args:
        settings: Where it is to be.
        stack: Ends it.
        left: It, as an earlier process left it, where :func:`left_api_socket` found that it is.

    Raises:
        StartError: The address is malformed or would be open to all without a token (2), or it cannot be had (1).
    """
    address = parse_listen(settings.listen)
    if address.path is not None:
        mode = settings.socket_mode
        unix_listener = UnixListener(
            address.path, mode=mode, group=settings.socket_group, left=left.detach() if left else None
        )
        stack.callback(unix_listener.close)
        if unix_listener.taken_over:
            # They may be other ones in the configuration since it was made.
            set_mode_and_group(address.path, mode, settings.socket_group)
        return unix_listener.socket, address
    assert address.host is not None
    _refuse_open(settings, address)
    listener = left or _listen_tcp(address.host, address.port)
    stack.callback(listener.close)
    return listener, address


def _refuse_open(settings: HttpSettings, address: Address) -> None:
    if address.host is not None and settings.token_file is None and not _is_loopback(address.host):
        raise StartError(
            f"http.listen = {settings.listen!r} is open to other hosts: set http.token_file, or listen on 127.0.0.1",
            exit_status=2,
        )


def left_api_socket(settings: HttpSettings, fd: int) -> socket.socket | None:
    """Return the socket that an earlier process left, where it listens as ``settings`` say; else close and remove it.

    Raises:
        StartError: The address is malformed.
    """
    address = parse_listen(settings.listen)
    try:
        listener = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return None
    if _listens_at(listener, address):
        listener.setblocking(False)
        return listener
    discard(listener.detach())
    return None


def _listens_at(listener: socket.socket, address: Address) -> bool:
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return bool(name == str(address.path))
    return address.path is None and _means(address, name[0], name[1])


def _means(address: Address, host: str, port: int) -> bool:
    assert address.host is not None
    bare = address.host.removeprefix("[").removesuffix("]")
    return address.port in (port, 0) and (bare == host or (bare == "localhost" and host == "127.0.0.1"))


def _listen_tcp(host: str, port: int) -> socket.socket:
    bare = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bare, port))
        listener.listen(128)
    except (OSError, UnicodeError) as error:
        listener.close()
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "it is in use; another vballoond may be running" if in_use else str(error)
        raise StartError(f"cannot listen on {host}:{port}: {why}", exit_status=1) from error
    listener.setblocking(False)
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return host == "localhost"
