"""The kind `check.tcp`: connects to a port, and if it is told to, says something and waits for what is to come back."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from maintd import wire
from maintd.check import CannotTell, Check
from maintd.errors import MaintdError, Refused
from maintd.job import AbsolutePath, Context, Flag, Span
from maintd.options import Host, Port, Regex, SocketPath
from maintd.readings import Sign, above
from maintd.rules import rule
from maintd.units import format_duration

LARGEST = 1 << 16


class CheckTcp(Check):
    """Connects, over TLS if wanted; sends a text, and reads until something matches `expect`, at most 64 KiB."""

    kind: ClassVar[str] = "check.tcp"

    host: Host = Field(default="127.0.0.1", description="a name or an address")
    port: Port | None = Field(default=None, description="the port; or give socket")
    socket: SocketPath | None = Field(default=None, description="a Unix socket in place of host and port")
    send: str | None = Field(default=None, description='what is sent, such as "PING\\r\\n"')
    expect: Regex | None = Field(default=None, description="a regular expression that what comes back must match")
    tls: Flag = Field(default=False, description="true speaks TLS from the start")
    verify: Flag = Field(default=True, description="false takes any certificate")
    ca_file: AbsolutePath | None = Field(default=None, description="the authorities to go by; default: the system's")
    degraded_time: Span | None = Field(default=None, description="all of it taking so long is degraded")
    down_time: Span | None = Field(default=None, description="and taking so long is down")

    @rule("port", "socket")
    def _one_place(self) -> str:
        is_one = (self.port is None) != (self.socket is None)
        return "" if is_one else "give either port (with host), or socket"

    @property
    def target(self) -> str:
        return self.socket or f"{self.host}:{self.port}"

    @property
    def is_by_name(self) -> bool:
        return self.socket is None and wire.is_asked_for(self.host)

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        begun = time.monotonic()
        made: wire.Wire | wire.TlsWire = (
            wire.connect_unix(self.socket, deadline)
            if self.socket
            else wire.connect(self.host, self.port or 0, deadline)
        )
        try:
            if self.tls and isinstance(made, wire.Wire):
                made = wire.secure(made, self.host, wire.tls_context(self.ca_file, verify=self.verify))
            if self.send is not None:
                made.sendall(self.send.encode())
            if self.expect is not None:
                self._await(ctx, made, self.expect, deadline)
        except Refused as error:
            raise CannotTell(str(error), hint=error.hint) from error
        finally:
            made.close()
        took = time.monotonic() - begun
        limits = [None if span is None else span.total_seconds() for span in (self.degraded_time, self.down_time)]
        said = "answered as expected" if self.expect else "connected"
        yield above(took, (limits[0], limits[1]), f"{said} in {format_duration(timedelta(seconds=took))}")

    def _await(self, ctx: Context, made: wire.Wire | wire.TlsWire, expected: str, deadline: float) -> None:
        received = b""
        while not self.is_matched(ctx, deadline, expected, received):
            more = made.recv(4096)
            if not more or len(received) > LARGEST:
                shown = received[:80].decode("utf-8", "replace")
                end = "the connection was closed" if not more else "too much came back"
                raise MaintdError(f"nothing matched {expected}: {end} after {shown!r}")
            received += more
