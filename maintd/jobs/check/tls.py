"""The kind `check.tls`: how long a server's certificate is valid yet, and whether it is trusted now."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from maintd import wire
from maintd.check import CannotTell, Check
from maintd.errors import Refused
from maintd.job import AbsolutePath, Context, Interval, Span
from maintd.options import Host, Port
from maintd.readings import Sign, below


class CheckTls(Check):
    """Speaks TLS from the start and looks at the certificate. One that has ended or is not trusted is down."""

    kind: ClassVar[str] = "check.tls"

    every: Interval | None = Field(default=timedelta(hours=1), description="how often it looks")
    host: Host = Field(description="a name or an address to connect to")
    port: Port = Field(default=443, description="the port")
    server_name: Host | None = Field(default=None, description="the name that is asked for (SNI); default: host")
    ca_file: AbsolutePath | None = Field(default=None, description="the authorities to go by; default: the system's")
    degraded_validity: Span | None = Field(
        default=timedelta(days=21), description="degraded when the certificate ends within this"
    )
    down_validity: Span | None = Field(default=timedelta(days=7), description="down when it ends within this")

    @property
    def target(self) -> str:
        return f"{self.server_name or self.host}:{self.port}"

    @property
    def is_by_name(self) -> bool:
        return wire.is_asked_for(self.host)

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        plain = wire.connect(self.host, self.port, deadline)
        try:
            context = wire.tls_context(self.ca_file, verify=True)
            plain = made = wire.secure(plain, self.server_name or self.host, context)  # type: ignore[assignment]
            seconds = wire.seconds_left(made, time.time()) or 0.0
        except Refused as error:
            raise CannotTell(str(error), hint=error.hint) from error
        finally:
            plain.close()
        limits = [
            None if span is None else span.total_seconds() for span in (self.degraded_validity, self.down_validity)
        ]
        yield below(seconds, (limits[0], limits[1]), f"its certificate ends in {seconds / 86400:.0f} days")
