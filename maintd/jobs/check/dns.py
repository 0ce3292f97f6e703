"""The kind `check.dns`: asks a name server for a name, and compares what it says."""

import contextlib
import ipaddress
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from maintd import name_query
from maintd.check import CannotTell, Check
from maintd.job import Context, Span
from maintd.name_query import Question
from maintd.options import Port
from maintd.readings import Sign, above, down
from maintd.units import format_duration


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no address: a name server is given by its address") from None


def _name(text: str) -> str:
    try:
        labels = [label.encode("idna") for label in text.rstrip(".").split(".")]
    except UnicodeError:
        labels = [b""]
    if not all(0 < len(label) < 64 for label in labels) or sum(len(label) + 1 for label in labels) > 254:
        raise ValueError(f"{text!r} is no name of the DNS")
    return text


def _compared(record: str, kind: str) -> str:
    """A record as it is compared: the same address, or the same name, may be written in several ways."""
    if kind == "TXT":
        return record
    if kind in ("A", "AAAA"):
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(record.strip()))
    *numbers, name = record.split() or [""]
    with contextlib.suppress(UnicodeError):
        name = name.rstrip(".").encode("idna").decode("ascii")
    return " ".join([*numbers, name.rstrip(".").lower()])


class CheckDns(Check):
    """Asks one name server, past all caches of this machine."""

    kind: ClassVar[str] = "check.dns"

    name: Annotated[str, AfterValidator(_name)] = Field(description="the name that is asked for")
    type: Literal["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = Field(
        default="A", description="the type of the records"
    )
    server: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None, description="the address of a name server; default: the first of /etc/resolv.conf"
    )
    port: Port = Field(default=53, description="the port of the name server")
    expected: tuple[str, ...] = Field(
        default=(), description='records that must be among the answers: "192.0.2.1", "10 mail.example."'
    )
    degraded_time: Span | None = Field(default=None, description="an answer that takes so long is degraded")
    down_time: Span | None = Field(default=None, description="and one that takes so long is down")

    @property
    def target(self) -> str:
        return f"{self.name} {self.type}"

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        server = self.server or next(iter(name_query.servers()), None)
        if server is None:
            raise CannotTell("/etc/resolv.conf names no name server", hint="set server")
        begun = time.monotonic()
        found = name_query.ask(Question(self.name, self.type, server, self.port), deadline)
        took = time.monotonic() - begun
        if not found:
            yield down(f"it has no record of type {self.type}")
        known = {_compared(record, self.type) for record in found}
        missing = [record for record in self.expected if _compared(record, self.type) not in known]
        if missing:
            yield down(f"{', '.join(missing)} is not among its records ({', '.join(sorted(found)[:5])})")
        limits = [None if span is None else span.total_seconds() for span in (self.degraded_time, self.down_time)]
        told = f"{', '.join(sorted(found)[:3])} in {format_duration(timedelta(seconds=took))}"
        yield above(took, (limits[0], limits[1]), told)
