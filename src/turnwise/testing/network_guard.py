"""`no_network`: a guard that lets a test reach loopback and nothing else."""

from __future__ import annotations

import ipaddress
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

_CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKING_UP = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})


class NetworkRefused(ConnectionRefusedError):
    """Code under test tried to reach the network; the message names the address."""


class NetworkGuard:
    """What was refused so far, as `host:port` or as a host name that was looked up."""

    def __init__(self) -> None:
        self.refused: list[str] = []


@contextmanager
def no_network() -> Generator[NetworkGuard]:
    """Refuse every connection and name look-up that does not stay on this machine, in all threads of this process.

    The attempt raises `NetworkRefused`, an `OSError`, and never leaves the process. If the code under test swallows it,
    leaving the block raises `AssertionError` with all addresses tried; clear `refused` of the guard to accept them. Also usable as a
    decorator of plain functions. Loopback addresses, `localhost` and Unix sockets are allowed; child processes are not guarded.
    """
    guard = NetworkGuard()
    _install()
    with _lock:
        _guards.append(guard)
    try:
        yield guard
    finally:
        with _lock:
            _guards.remove(guard)
    if guard.refused:
        raise AssertionError(f"The network was tried: {', '.join(guard.refused)}.")


_lock = threading.Lock()
_guards: list[NetworkGuard] = []


@cache
def _install() -> None:
    """Audit hooks cannot be removed, so there is one per process, which does nothing while no guard is active."""
    sys.addaudithook(_audit)


def _audit(event: str, args: tuple[object, ...]) -> None:
    if not _guards or (event not in _CONNECTING and event not in _LOOKING_UP):
        return
    tried = _named(args[0]) if event in _LOOKING_UP else _addressed(args[-1])
    if tried is not None:
        for guard in _guards:
            guard.refused.append(tried)
        raise NetworkRefused(f"no_network() refused {tried}.")


def _addressed(address: object) -> str | None:
    """The address as text if it is not local. None as address: a connected datagram socket, refused when it connected."""
    if not isinstance(address, tuple):
        return None
    host, port = str(address[0]), address[1]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return None if _is_local(host) else f"{host}:{port}"


def _named(host: object) -> str | None:
    """The name that would be looked up on the network; an address needs no look-up, it is refused when it is connected to."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if not isinstance(name, str) or _is_local(name) or _parsed(name) is not None:
        return None
    return name


def _is_local(host: str) -> bool:
    address = _parsed(host)
    if address is not None:
        return address.is_loopback
    return host in ("", "localhost") or host.endswith(".localhost")


def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
