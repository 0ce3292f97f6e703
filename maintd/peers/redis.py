"""What is asked of a Redis server, in a child process; redis-py is an extra, and loaded here alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from maintd.errors import MaintdError, Refused, TimedOut

_FIELDS = (
    *("used_memory", "maxmemory", "evicted_keys", "keyspace_hits", "keyspace_misses", "role", "master_link_status"),
    *("master_last_io_seconds_ago", "rdb_last_bgsave_status", "aof_enabled", "aof_last_write_status"),
    *("aof_last_bgrewrite_status", "loading", "connected_clients", "maxclients", "run_id", "maxmemory_policy"),
)

_NEEDED = ("used_memory", "evicted_keys", "keyspace_hits", "keyspace_misses", "connected_clients")


def look(  # noqa: PLR0913 - where it is, who asks, how long
    _progress: Callable[[int], None],
    *,
    host: str,
    port: int,
    socket: str | None,
    tls: bool,
    ca_file: str | None,
    username: str | None,
    password: str | None,
    limit: float,
) -> dict[str, Any]:
    """PING and INFO: some of its fields, and `ping_s`.

    Raises MaintdError, TimedOut, and Refused without redis-py or if it is no Redis.
    """
    with connected(
        host, port, socket, tls=tls, ca_file=ca_file, username=username, password=password, limit=limit
    ) as client:
        begun = time.monotonic()
        client.ping()
        took = time.monotonic() - begun
        info = client.info("everything")
    if lacking := [name for name in _NEEDED if info.get(name) is None]:
        hint = "a Sentinel keeps no data: whether it answers is seen by a check.tcp of its port"
        raise Refused(f"its INFO has no {', '.join(lacking)}", hint=hint)
    return {name: info.get(name) for name in _FIELDS} | {"ping_s": took}


@contextmanager
def connected(  # noqa: PLR0913 - as above
    host: str,
    port: int,
    socket: str | None,
    *,
    tls: bool,
    ca_file: str | None,
    username: str | None,
    password: str | None,
    limit: float,
) -> Iterator[Any]:
    """A client; what the server, or the way to it, refuses is raised as by `look`."""
    try:
        import redis  # noqa: PLC0415 - an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError as error:
        raise Refused("redis-py is not installed", hint="install maintd with the extra redis: maintd[redis]") from error

    where: dict[str, Any] = {"unix_socket_path": socket} if socket else {"host": host, "port": port, "ssl": tls}
    if tls and ca_file:
        where["ssl_ca_certs"] = ca_file
    client = redis.Redis(
        **where,
        username=username,
        password=password,
        socket_timeout=limit,
        socket_connect_timeout=limit,
        retry=Retry(NoBackoff(), 0),
        single_connection_client=False,
        protocol=2,
        lib_name=None,
        lib_version=None,
    )
    try:
        yield client
    except redis.exceptions.TimeoutError as error:
        raise TimedOut("no answer") from error
    except redis.exceptions.AuthenticationError as error:
        raise MaintdError(f"it refuses to let us in: {error}", hint="see username and password_file") from error
    except redis.exceptions.RedisError as error:
        raise MaintdError(str(error)) from error
    finally:
        client.close()
