"""The kind `redis`: what takes the memory of a Redis, and which of its keys never expire."""

from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from maintd import extras
from maintd.job import AbsolutePath, Context, Count, Flag, Job, Span
from maintd.options import Host, Port, SocketPath
from maintd.steps import Finding, Step
from maintd.supervisor import Supervisor
from maintd.triggers import Asked


class RedisUpkeep(Job):
    """Looks at a sample of a Redis's keys through redis-py (the extra `redis`); nothing is changed unless asked."""

    kind: ClassVar[str] = "redis"

    host: Host = Field(default="127.0.0.1", description="a name or an address")
    port: Port = Field(default=6379, description="the port")
    socket: SocketPath | None = Field(default=None, description="a Unix socket in place of host and port")
    tls: Flag = Field(default=False, description="true speaks TLS")
    ca_file: AbsolutePath | None = Field(default=None, description="the authorities to go by; default: the system's")
    username: str | None = Field(default=None, description="the user, if it is not the default one")
    password_file: AbsolutePath | None = Field(default=None, description="a file that holds the password alone")
    sample: Count = Field(default=10_000, description="so many keys of each database are looked at")
    sample_timeout: Span = Field(default=timedelta(minutes=5), description="a sample that takes longer is ended")
    expiring: tuple[str, ...] = Field(
        default=(), description='patterns of keys that must have an expiry ("session:*"): a warning if one has none'
    )
    purge_over: float | None = Field(
        default=None, gt=1, description="MEMORY PURGE at such a fragmentation ratio; default: never"
    )

    def plan(self, ctx: Context) -> Iterator[Step]:
        from maintd.actions.redis import AnalyzeMemory  # noqa: PLC0415 - reading a config does not need what acts

        target = self.socket or f"{self.host}:{self.port}"
        if isinstance(ctx.cause, Asked) and ctx.cause.due_only:
            yield Finding(target=target, reason="only the daemon knows whether it is due: left out by --due")
            return
        server = {"host": self.host, "port": self.port, "socket": self.socket}
        server |= {"tls": self.tls, "ca_file": self.ca_file, "username": self.username}
        yield AnalyzeMemory(
            target=target,
            reason="what takes its memory, and what never expires",
            server=server,
            password_file=self.password_file,
            most=self.sample,
            expiring=self.expiring,
            seconds=self.sample_timeout.total_seconds(),
            purge_over=self.purge_over,
        )

    def doubts(self, _supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        if said := extras.lacking("redis"):
            yield "", said
