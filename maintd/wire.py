"""Connections that end by a hard deadline, whatever the peer does, names and TLS included.

Each reading and writing call gets what is left until the deadline, so that an answer that drips in byte by byte does
not extend it. A name is looked up in a thread of its own, since getaddrinfo(3) cannot be ended.
"""

import contextlib
import ipaddress
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from maintd.deadlines import left
from maintd.errors import MaintdError, Refused, is_shortage

MOST_LOOKUPS = 16
"""Names that are looked up at a time; who asks for more waits for a place, but no longer than until its deadline."""
Address = tuple[socket.AddressFamily, Any]


class Wire(socket.socket):
    """A TCP or Unix socket all of whose calls end by `deadline`, with TimeoutError."""

    deadline: float = 0.0

    def recv_into(self, *arguments: Any) -> int:
        self.settimeout(left(self.deadline))
        return super().recv_into(*arguments)

    def recv(self, *arguments: Any) -> bytes:
        self.settimeout(left(self.deadline))
        return super().recv(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self.settimeout(left(self.deadline))
        super().sendall(*arguments)


class TlsWire(ssl.SSLSocket):
    """The same over TLS."""

    deadline: float = 0.0

    def recv_into(self, *arguments: Any) -> int:
        self.settimeout(left(self.deadline))
        return super().recv_into(*arguments)

    def recv(self, *arguments: Any) -> bytes:
        self.settimeout(left(self.deadline))
        return super().recv(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self.settimeout(left(self.deadline))
        super().sendall(*arguments)


def connect(host: str, port: int, deadline: float) -> Wire:
    """A connection to the first address of `host` that takes it. Raises OSError, TimedOut, MaintdError."""
    addresses = resolve(host, port, deadline)
    failures: list[OSError] = []
    for at, (family, address) in enumerate(addresses):
        wire = Wire(family, socket.SOCK_STREAM)
        wire.deadline = deadline
        try:
            wire.settimeout(left(deadline) / (len(addresses) - at))
            wire.connect(address)
        except OSError as error:
            wire.close()
            failures.append(error)
        else:
            return wire
    if not failures:
        raise MaintdError(f"{host} has no address")
    raise next((error for error in reversed(failures) if not is_shortage(error)), failures[-1])  # IPv6 may be off here


def connect_unix(path: str, deadline: float) -> Wire:
    """A connection to a Unix socket. Raises OSError, TimedOut.

    If the queue of its server is full that is waited for, by a limit of the kernel's (socket(7)): without blocking
    it would be refused at once (EAGAIN).
    """
    wire = Wire(socket.AF_UNIX, socket.SOCK_STREAM)
    wire.deadline = deadline
    try:
        limit = divmod(max(int(left(deadline) * 1e6), 1), 1_000_000)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", *limit))
        wire.connect(path)
    except BlockingIOError as error:
        wire.close()
        raise TimeoutError from error
    except BaseException:
        wire.close()
        raise
    return wire


def secure(wire: Wire, server_name: str, context: ssl.SSLContext) -> TlsWire:
    """The connection with TLS over it. Raises OSError (ssl.SSLError is one) in words of its own if that cannot be."""
    deadline = wire.deadline
    wire.settimeout(left(deadline))
    try:
        made = context.wrap_socket(wire, server_hostname=server_name)
    except ssl.SSLCertVerificationError as error:
        raise MaintdError(f"its certificate is not valid: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise MaintdError(f"TLS failed: {error.reason or error}") from error
    assert isinstance(made, TlsWire)
    made.deadline = deadline
    return made


def tls_context(ca_file: str | None, *, verify: bool) -> ssl.SSLContext:
    """What TLS is made by; kept until the authorities are others, since to read those of a system takes 20 ms.

    Raises Refused if a `ca_file` that is named cannot be read.
    """
    usual = ssl.get_default_verify_paths()
    files = (ca_file,) if ca_file else (usual.cafile, usual.capath)
    try:
        return _context(ca_file, verify, tuple(_stamp(file) for file in files if file))
    except OSError as error:  # ssl.SSLError is one
        reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise Refused(f"{ca_file} cannot be read: {reason}", hint="ca_file is to hold certificates (PEM)") from error


def _stamp(path: str) -> tuple[int, ...]:
    """What is otherwise when a file was written or exchanged."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=16)
def _context(ca_file: str | None, verify: bool, _stamps: tuple[tuple[int, ...], ...]) -> ssl.SSLContext:  # noqa: FBT001
    context = ssl.create_default_context(cafile=ca_file)
    context.sslsocket_class = TlsWire
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def seconds_left(wire: TlsWire, now: float) -> float | None:
    """How long the peer's certificate is valid yet; None if it was not verified. `now` is in seconds of the epoch."""
    certificate = wire.getpeercert() or {}
    end = certificate.get("notAfter")
    return ssl.cert_time_to_seconds(end) - now if isinstance(end, str) else None


# Names


class _Lookup:
    """One question to the resolver, for all who ask it at the same time."""

    def __init__(self, ask: Callable[[], list[Address]]) -> None:
        self._ask = ask
        self.done = threading.Event()
        self.found: list[Address] = []
        self.error: OSError | None = None

    def run(self, forget: Callable[[], None]) -> None:
        try:
            self.found = self._ask()
        except OSError as error:
            self.error = error
        finally:
            forget()
            self.done.set()


_lookups: dict[str, _Lookup] = {}
_places = threading.Condition()


def is_asked_for(host: str) -> bool:
    """Whether the resolver asks others for a host: it is no address, and not this machine (RFC 6761, 6.3)."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return False
    return host.rstrip(".").lower() != "localhost"


def resolve(host: str, port: int, deadline: float) -> list[Address]:
    """The addresses of a host, by getaddrinfo(3). Raises OSError, TimedOut; MaintdError if it was not done in time."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        return [(socket.AF_INET if address.version == 4 else socket.AF_INET6, (host, port))]
    lookup = _lookup(host, deadline)
    if lookup is None or not lookup.done.wait(max(deadline - time.monotonic(), 0)):
        raise MaintdError(f"the name {host} was not resolved in time: the resolver does not answer")
    if lookup.error is not None and is_shortage(lookup.error):  # of descriptors, to ask the resolver by
        raise lookup.error
    if lookup.error is not None:
        raise MaintdError(f"the name {host} cannot be resolved: {lookup.error.strerror}") from lookup.error
    return [(family, (address[0], port, *address[2:])) for family, address in lookup.found]


def _lookup(host: str, deadline: float) -> _Lookup | None:
    """The question for a host, asked once there is a place for it; None if there was none until the deadline.

    This machine needs no place: it stands in hosts(5).
    """
    with _places:
        is_there = _places.wait_for(
            lambda: host in _lookups or len(_lookups) < MOST_LOOKUPS or not is_asked_for(host),
            max(deadline - time.monotonic(), 0),
        )
        if not is_there:
            return None
        if host not in _lookups:
            _lookups[host] = _Lookup(lambda: _addresses(host))
            threading.Thread(
                target=_lookups[host].run, args=[lambda: _forget(host)], name="lookup", daemon=True
            ).start()
        return _lookups[host]


def _forget(host: str) -> None:
    with _places:
        del _lookups[host]
        _places.notify_all()


def _addresses(host: str) -> list[Address]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))
