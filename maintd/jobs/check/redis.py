"""The kind `check.redis`: whether a Redis answers, has memory left, hits, replicates and can save."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from maintd.check import CannotTell, Check, Percent, Share, Whole
from maintd.deadlines import left
from maintd.errors import Refused
from maintd.job import AbsolutePath, Context, Flag, Span
from maintd.options import Host, Port, SocketPath, secret
from maintd.readings import Sign, above, below, down, up
from maintd.units import counted, format_duration, format_size

_PARTING = 0.5


class CheckRedis(Check):
    """Sends PING and INFO through redis-py (the extra `redis`), in a child process, on a connection of its own."""

    kind: ClassVar[str] = "check.redis"
    looks_at: ClassVar[tuple[str, ...]] = ("host", "port", "socket")
    in_child: ClassVar[bool] = True

    host: Host = Field(default="127.0.0.1", description="a name or an address")
    port: Port = Field(default=6379, description="the port")
    socket: SocketPath | None = Field(default=None, description="a Unix socket in place of host and port")
    tls: Flag = Field(default=False, description="true speaks TLS")
    ca_file: AbsolutePath | None = Field(default=None, description="the authorities to go by; default: the system's")
    username: str | None = Field(default=None, description="the user, if it is not the default one")
    password_file: AbsolutePath | None = Field(default=None, description="a file that holds the password alone")
    degraded_time: Span | None = Field(default=timedelta(milliseconds=200), description="such a PING is degraded")
    down_time: Span | None = Field(default=None, description="and one that takes so long is down")
    degraded_memory: Percent | None = Field(default=Share(85), description="such a share of maxmemory is degraded")
    down_memory: Percent | None = Field(default=None, description="and such a share is down")
    degraded_hits: Percent | None = Field(default=None, description="so few hits since the last look are degraded")
    down_hits: Percent | None = Field(default=None, description="and so few are down")
    degraded_evictions: Whole | None = Field(default=None, description="keys evicted since the last look: degraded")
    down_evictions: Whole | None = Field(default=None, description="keys evicted since the last look: down")
    degraded_clients: Percent | None = Field(default=Share(85), description="such a share of maxclients is degraded")
    down_clients: Percent | None = Field(default=None, description="and such a share is down")
    down_lag: Span | None = Field(
        default=timedelta(minutes=1), description="a replica that has heard nothing from its master for so long is down"
    )

    @property
    def target(self) -> str:
        return self.socket or f"{self.host}:{self.port}"

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        try:
            info = self.ask(
                ctx,
                deadline + _PARTING,
                "maintd.peers.redis:look",
                host=self.host,
                port=self.port,
                socket=self.socket,
                tls=self.tls,
                ca_file=self.ca_file,
                username=self.username,
                password=secret(self.password_file) if self.password_file else None,
                limit=left(deadline),
            )
        except Refused as error:
            raise CannotTell(str(error), hint=error.hint) from error
        ping = info["ping_s"]
        limits = _seconds(self.degraded_time), _seconds(self.down_time)
        yield above(ping, limits, f"PING in {format_duration(timedelta(seconds=ping))}")
        if info["loading"]:
            yield down("it is still loading its data")
        yield from self._room(info)
        yield from self._since_the_last_look(ctx, info)
        yield from self._replication(info)
        yield from _persistence(info)

    def _room(self, info: Mapping[str, Any]) -> Iterator[Sign]:
        used, most = info["used_memory"], info["maxmemory"]
        if most:
            share = 100 * used / most
            told = f"{share:.0f}% of {format_size(most)} used"
            yield above(share, (self._full(info["maxmemory_policy"]), self.down_memory), told)
        else:
            yield up(f"{format_size(used)} used, without maxmemory")
        if info["maxclients"]:
            share = 100 * info["connected_clients"] / info["maxclients"]
            told = f"{counted(info['connected_clients'], 'client')} of {info['maxclients']}"
            yield above(share, (self.degraded_clients, self.down_clients), told)

    def _full(self, policy: str | None) -> float | None:
        """From which share on it is degraded: a cache that evicts any key is full by design, unless told otherwise."""
        is_cache = policy is not None and policy.startswith("allkeys-")
        return None if is_cache and "degraded_memory" not in self.model_fields_set else self.degraded_memory

    def _since_the_last_look(self, ctx: Context, info: Mapping[str, Any]) -> Iterator[Sign]:
        keys = ("run_id", "keyspace_hits", "keyspace_misses", "evicted_keys")
        before, now = ctx.memory.get("counts"), {key: info[key] for key in keys}
        ctx.memory["counts"] = now
        if before is None or before["run_id"] != now["run_id"]:
            return
        hits, misses, evicted = (now[key] - before[key] for key in keys[1:])
        if hits + misses > 0:
            share = 100 * hits / (hits + misses)
            yield below(share, (self.degraded_hits, self.down_hits), f"{share:.0f}% hits")
        if evicted > 0:
            limits = self.degraded_evictions, self.down_evictions
            yield above(evicted, limits, f"{counted(evicted, 'key')} evicted")

    def _replication(self, info: Mapping[str, Any]) -> Iterator[Sign]:
        if info["role"] != "slave":
            return
        if info["master_link_status"] != "up":
            yield down("the link to its master is down")
            return
        lag = max(info["master_last_io_seconds_ago"] or 0, 0)
        limits = None, _seconds(self.down_lag)
        yield above(lag, limits, f"last heard from its master {format_duration(timedelta(seconds=lag))} ago")


def _persistence(info: Mapping[str, Any]) -> Iterator[Sign]:
    if info["rdb_last_bgsave_status"] not in ("ok", None):
        yield down(
            "its last snapshot failed", "its log says why; often there is no room on the disk, or no memory to fork"
        )
    if info["aof_enabled"] and "err" in (info["aof_last_write_status"], info["aof_last_bgrewrite_status"]):
        yield down("it cannot write its append-only file", "its log says why; often there is no room on the disk")


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()
