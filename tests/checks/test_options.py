"""Options of checks that no other test needs, each on something real that it makes bad."""

import contextlib
import os
import pickle
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import redis

from maintd import jobs
from maintd.job import Context
from maintd.readings import Reading
from maintd.supervisor import Supervisor
from maintd.triggers import Scheduled
from maintd.units import parse_duration
from tests.conftest import until

from .servers import certified, listens, respond, server
from .test_kinds import name_server, takes_long_to_read_through
from .test_process import supervisor  # noqa: F401 - a fixture
from .test_servers import POSTGRES, REDIS, ended, free_port, needs_postgres, needs_redis, postgres  # noqa: F401

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


class Looks:
    """Looks at one check after the other, each with what it remembers of the looks before."""

    def __init__(self, kind: str, supervisor_url: str = "", **options: Any) -> None:
        self.job = jobs.kind(f"check.{kind}").model_validate(options)
        self.memory: dict[str, Any] = {}
        self.url = supervisor_url

    def read(self) -> Reading:
        ctx = Context(now=NOW, cause=Scheduled(NOW), memory=self.memory, supervisor=Supervisor(self.url))
        (reading,) = self.job.plan(ctx)
        assert isinstance(reading, Reading)
        return reading

    @property
    def health(self) -> str:
        return str(self.read().health)


def health(kind: str, **options: Any) -> str:
    return Looks(kind, **options).health


def worse(kind: str, number: str, limit: Any, **options: Any) -> tuple[str, str]:
    """How it is with this limit as `degraded_…`, and as `down_…`."""
    return health(kind, **{f"degraded_{number}": limit}, **options), health(
        kind, **{f"down_{number}": limit}, **options
    )


BOTH = ("degraded", "down")


def test_numbers_of_the_machine(tmp_path):
    """Space, inodes, memory, pressure and warmth: each number makes it degraded or down by its own option."""
    off = {"degraded_used": "100%", "down_used": "100%", "degraded_inodes": "100%", "down_inodes": "100%"}
    assert worse("disk", "free", "900T", path="/", **(off | {})) == BOTH
    inodes = {key: value for key, value in off.items() if "inodes" not in key}
    if os.statvfs("/").f_files:
        assert worse("disk", "inodes", "0.00001%", path="/", **inodes) == BOTH
    assert worse("memory", "free", "900T", degraded_used="100%", down_used="100%") == BOTH
    if not os.path.exists("/proc/pressure/cpu"):
        assert health("pressure", resource="cpu") == "unknown"
    sensors = psutil.sensors_temperatures()
    warm = worse("temperature", "celsius", 0)
    assert warm == BOTH if sensors else ("unknown", "unknown")


def test_swap_that_is_required(tmp_path, monkeypatch):
    """A machine without swap is degraded if it is required; what is swapped in and out makes it degraded, or down."""
    has_swap = bool(Path("/proc/swaps").read_text(encoding="ascii").splitlines()[1:])
    assert health("swap", required=True, degraded_used=None, down_used=None) == ("up" if has_swap else "degraded")
    counts = iter((0, 1 << 30))
    monkeypatch.setattr("maintd.jobs.check.swap.swapped", lambda: next(counts, 1 << 31))  # no test can make it swap
    for number, limit in (("degraded_rate", "1M"), ("down_rate", "1M")):
        looks = Looks("swap", **{number: limit}, degraded_used=None, down_used=None)
        looks.read()
        time.sleep(0.01)
        assert looks.health == number.partition("_")[0]
        counts = iter((0, 1 << 30))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
def test_a_disk_that_became_read_only_is_down_unless_it_is_meant_to_be(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", tmp_path], check=True)
    try:
        assert health("disk", path=str(tmp_path), mount=True) == "down"
        assert health("disk", path=str(tmp_path), mount=True, read_only=True) == "up"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_names_that_come_and_go_do_not_add_up(tmp_path):
    """A spool, whose files are all others at each look, is remembered in no more bytes after many looks."""
    looks, sizes = Looks("file", paths=[f"{tmp_path}/*.json"], changed_within="1m", down_changed=0), []
    for number in range(10):
        made = [tmp_path / f"order-{number:03d}-{file:03d}.json" for file in range(100)]
        for path in made:
            path.touch()
        assert looks.health == "up"
        sizes.append(len(pickle.dumps(looks.memory)))
        for path in made:
            path.unlink()
    assert max(sizes) < 1.2 * sizes[0]


def test_what_is_there_and_is_no_file_is_told_for_what_it_is(tmp_path):
    """A dangling link and a directory are said to be that; and they are there, for who wants none there."""
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "folder").mkdir()
    for name, what in (("link", "is a dangling symbolic link"), ("folder", "is a directory")):
        for found in (
            Looks("file", paths=[f"{tmp_path}/{name}"]),
            Looks("file", paths=[f"{tmp_path}/{name}"], absent=True),
            Looks("log", paths=[f"{tmp_path}/{name}"], matches="x", degraded_count=1),
        ):
            reading = found.read()
            assert str(reading.health) == "down"
            assert what in reading.reason
    assert health("file", paths=[f"{tmp_path}/none", f"{tmp_path}/nowhere/*"], absent=True) == "up"


def test_what_cannot_be_looked_at_is_not_said_to_be_absent(tmp_path):
    """Behind a name that is too long, or a link in place of a directory, a file may be there or not: it is unknown."""
    (tmp_path / "loop").symlink_to("loop")
    for path in (f"{tmp_path}/{'a' * 300}", f"{tmp_path}/loop/file"):
        assert health("file", paths=[path], absent=True) == "unknown"


def test_sizes_and_growth_of_files(tmp_path):
    """A file that is large is degraded; files that grow faster than they may are degraded, or down."""
    path = tmp_path / "a.json"
    path.write_bytes(b"x" * 5000)
    assert worse("file", "size", "4K", paths=[str(path)]) == BOTH
    for number in ("degraded_growth", "down_growth"):
        looks = Looks("file", paths=[str(path)], **{number: "1M"})
        assert looks.health == "up"
        with path.open("ab") as file:
            file.write(b"x" * 100_000)
        assert looks.health == number.partition("_")[0]


def test_lines_that_are_too_many_or_stay_away(tmp_path):
    """Lines are counted down as well; a log that falls silent is degraded or down, once it was listened to for long."""
    log = tmp_path / "a.log"
    log.write_bytes(b"")
    many = Looks("log", paths=[str(log)], matches="ERROR", down_count=2, within="1h")
    silent = [
        Looks("log", paths=[str(log)], matches="tick", within="100ms", **{f"{number}_below": 0})
        for number in ("degraded", "down")
    ]
    assert [looks.health for looks in (many, *silent)] == ["up"] * 3
    with log.open("ab") as file:
        file.write(b"ERROR one\nERROR two\n")
    time.sleep(0.11)
    assert [looks.health for looks in (many, *silent)] == ["down", "degraded", "down"]


def test_what_is_asked_of_a_server_and_how_far_it_is_followed(tmp_path):
    """The method, headers and body that are configured are sent; redirects = 0 takes the redirect as the answer."""
    taken: list[bytes] = []

    def echo(made: socket.socket, _: int) -> None:
        if b"a=1" not in web.headers["/form"]:  # the body may come with the head, or after it
            taken.append(made.recv(100))
        respond(made, 200, b"fine")

    with server() as web:
        web.answers["/form"] = echo
        form = {"url": f"{web.url}/form", "method": "PUT", "headers": {"X-Who": "maintd"}, "body": "a=1"}
        assert health("http", **form) == "up"
        head = web.headers["/form"]
        assert head.startswith(b"PUT /form ")
        assert b"X-Who: maintd\r\n" in head
        assert b"a=1" in b"".join([head, *taken])
        assert health("http", url=f"{web.url}/moved", redirects=0) == "down"
        assert health("http", url=f"{web.url}/moved", redirects=0, status=[301]) == "up"
        assert health("http", url=f"{web.url}/loop", redirects=20) == "down"
    with server(certified(tmp_path, 30)) as web:
        more = {"ca_file": str(tmp_path / "cert.pem")}
        assert worse("http", "validity", "40d", url=f"{web.url}/ok", **more) == BOTH
        local = {"host": "127.0.0.1", "port": web.port, **more}
        assert (health("tls", degraded_validity="40d", **local), health("tls", down_validity="40d", **local)) == BOTH
        assert "another.example" in Looks("tls", server_name="another.example", **local).read().reason


def test_a_database_with_much_to_write_back_and_much_that_is_free(tmp_path):
    path = tmp_path / "data.sqlite"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE a AS SELECT randomblob(200000) AS b")
        database.execute("DROP TABLE a")
        assert worse("sqlite", "wal", "1K", path=str(path)) == BOTH
        assert worse("sqlite", "free", "50%", path=str(path), degraded_wal=None) == BOTH


def test_a_quick_check_that_was_not_done_is_done_once_there_is_more_time(tmp_path):
    """A longer timeout has the database read through again, before `quick_check_every`; a shorter one does not."""
    path, memory = tmp_path / "slow.sqlite", {}
    takes_long_to_read_through(path)

    def says(timeout: str, reason: str) -> bool:
        look = Looks("sqlite", path=str(path), quick_check_every="7d", timeout=timeout)
        look.memory = memory
        return reason in look.read().reason

    until(lambda: says("1s", "quick_check was not done within 1s"), "it is late")
    until(lambda: says("990ms", "quick_check was not done within 1s"), "it is as it was")
    with contextlib.closing(sqlite3.connect(tmp_path / "whole.sqlite")) as database:
        database.execute("CREATE TABLE a (b)")
    path.write_bytes((tmp_path / "whole.sqlite").read_bytes())
    assert says("1m", "quick_check is ok")


def test_exit_statuses_and_how_much_of_the_output_is_told():
    """Which status means what is as configured, and so is how many characters are told."""
    means = {"up_status": [0, 7], "degraded_status": [8], "unknown_status": [9], "longest_message": 5}
    found = [Looks("program", command=["/bin/sh", "-c", f"echo abcdefgh; exit {n}"], **means) for n in (7, 8, 9, 1)]
    readings = [looks.read() for looks in found]
    assert [str(reading.health) for reading in readings] == ["up", "degraded", "unknown", "down"]
    assert readings[0].reason == "abcde"


def test_records_of_a_type():
    """The type is what is asked for: a name with an address and no other record is down for another type."""
    with name_server() as port:
        where = {"server": "127.0.0.1", "port": port, "name": "well.example"}
        assert (health("dns", **where), health("dns", type="MX", **where)) == ("up", "down")


def test_numbers_of_a_process(supervisor, tree):  # noqa: F811
    """Uptime, memory, threads, open files, restarts and CPU of a program: degraded and down by its own option each."""
    ctl, _ = supervisor
    url = f"unix://{tree.folder}/supervisor.sock"

    def looks(program: str, **options: Any) -> Looks:
        return Looks("process", url, program=program, **options)

    numbers = {"uptime": "1d", "memory": "20M", "threads": 1, "files": 1}
    for number, limit in numbers.items():
        for how in BOTH:
            assert looks("web:server", **{f"{how}_{number}": limit}).health == how, number
    counted = [looks("web:server", down_restarts=1), looks("web:server", down_restarts=1, restarts_within="1ms")]
    busy = looks("web:busy", down_cpu="1%")
    for one in (*counted, busy):
        one.read()
    os.kill(int(ctl("pid", "web:server")), signal.SIGKILL)
    until(lambda: ctl("pid", "web:server").strip().isdigit() and int(ctl("pid", "web:server")), "it is back", 20)
    until(lambda: "RUNNING" in ctl("status", "web:server"), "it runs", 20)
    found = counted[0].read(), busy.read()
    assert [str(reading.health) for reading in found] == ["down", "down"], found
    counted[1].read()
    time.sleep(0.01)
    assert counted[1].health == "up"


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Callable[..., tuple[int, subprocess.Popen[bytes]]]]:
    """Starts a Redis with these arguments: its port, and its process."""
    with contextlib.ExitStack() as all_of_them:

        def start(*arguments: str) -> tuple[int, subprocess.Popen[bytes]]:
            port = free_port()
            command = [REDIS, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
            process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL)
            all_of_them.enter_context(ended(process))
            until(lambda: listens(port), "Redis listens")
            return port, process

        yield start


@needs_redis
def test_numbers_of_a_redis(cache):
    """Memory, clients, hits, evictions and the lag of a replica: degraded and down by its own option each."""
    port, master = cache("--maxmemory", "6mb", "--maxmemory-policy", "allkeys-lru")
    replica, _ = cache("--replicaof", "127.0.0.1", str(port))
    calm = {"port": port, "degraded_time": None, "timeout": "20s"}
    unlimited = {"degraded_memory": "100%", **calm}
    assert worse("redis", "memory", "1%", **calm) == BOTH
    assert worse("redis", "clients", "0.001%", **unlimited) == BOTH
    hits = [Looks("redis", **{f"{how}_hits": "90%"}, **unlimited) for how in BOTH]
    evictions = [Looks("redis", **{f"{how}_evictions": 1}, **unlimited) for how in BOTH]
    for looks in (*hits, *evictions):
        looks.read()
    with contextlib.closing(redis.Redis(port=port)) as client:
        for number in range(12):
            client.get("missing")
            client.set(f"key {number}", b"x" * 1_000_000)
    assert [looks.health for looks in (*hits, *evictions)] == [*BOTH, *BOTH]
    lag = Looks("redis", down_lag="1s", **(calm | {"port": replica, "degraded_memory": None}))
    until(lambda: "last heard from its master" in lag.read().reason, "it replicates", 30)
    master.send_signal(signal.SIGSTOP)
    until(lambda: lag.health == "down", "it has heard nothing for a second", 30)
    assert "last heard from its master" in lag.read().reason
    master.send_signal(signal.SIGCONT)


@needs_redis
def test_a_cache_that_is_full_is_as_it_should_be(cache):
    """What evicts any key is full by design, unless an option says otherwise; what evicts none is then degraded."""
    port, _ = cache("--maxmemory", "6mb", "--maxmemory-policy", "allkeys-lru")
    calm = {"port": port, "degraded_time": None, "timeout": "20s"}
    with contextlib.closing(redis.Redis(port=port)) as client:
        for number in range(500):
            client.set(f"key {number}", b"x" * 20_000)
        assert health("redis", **calm) == "up"
        assert health("redis", degraded_memory="85%", **calm) == "degraded"
        client.config_set("maxmemory-policy", "noeviction")
        assert health("redis", **calm) == "degraded"


class Psql:
    """A psql at work on a server; `ask` gives the first line that a statement answers."""

    def __init__(self, folder: str, port: int) -> None:
        command = [POSTGRES[-1].parent / "psql", "-h", folder, "-p", str(port), "-U", "admin", "-qAt", "postgres"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": {"PGPASSWORD": "s3cret"}}
        self.process = subprocess.Popen(command, text=True, **pipes)

    def ask(self, statement: str) -> str:
        self.process.stdin.write(f"{statement};\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


@needs_postgres
def test_numbers_of_a_postgres(postgres):  # noqa: F811
    """A transaction that is open for long, dead rows, a replica that does not keep up: degraded and down each.

    A replica that has lost its primary does not count as one that keeps up. That nothing was written for long before
    it fell behind does not make it further behind.
    """
    port, folder, server = postgres
    tools = POSTGRES[-1].parent
    where = f"host={folder} port={{0}} dbname=postgres user=admin"
    calm = {"password_file": f"{folder}/right", "degraded_time": None, "timeout": "20s"}
    calm |= {"degraded_connections": None, "down_connections": None}
    here = {"conninfo": where.format(port), **calm}
    with Psql(folder, port) as one:
        made = one.ask(
            "CREATE TABLE big WITH (autovacuum_enabled = false) AS SELECT generate_series(1, 12000) AS a;"
            "DELETE FROM big WHERE a <= 6000; SELECT 'made'"
        )
        assert made == "made"
        one.ask("BEGIN; SELECT 1")
        assert worse("postgres", "transaction", "1ms", **here) == BOTH
        one.ask("COMMIT; SELECT 1")
    for how in BOTH:
        dead = Looks("postgres", **{f"{how}_dead": "40%"}, **here)
        until(lambda dead=dead: dead.health != "up", "it is counted", 20)
        assert dead.health == how
    as_postgres = {"user": "postgres", "group": "postgres", "cwd": folder, "stdout": subprocess.DEVNULL}
    copy = [tools / "pg_basebackup", "-h", folder, "-p", str(port), "-U", "admin", "-D", f"{folder}/copy", "-R"]
    subprocess.run([*copy, "-c", "fast", "-X", "stream"], check=True, env={"PGPASSWORD": "s3cret"}, **as_postgres)
    other = free_port()
    few = ["-clisten_addresses=", "-cfsync=off", "-cmax_connections=6", "-csuperuser_reserved_connections=3"]
    replica = subprocess.Popen(
        [tools / "postgres", "-D", f"{folder}/copy", "-p", str(other), "-k", folder, *few],
        stderr=subprocess.DEVNULL,
        **as_postgres,
    )
    lagging = [Looks("postgres", conninfo=where.format(other), **{f"{how}_lag": "1ms"}, **calm) for how in BOTH]
    with ended(replica):
        until(lambda: lagging[0].health == "up", "the replica has all of it", 30)
        with Psql(folder, other) as there, Psql(folder, port) as one:
            until(lambda: there.ask("SELECT now() - pg_postmaster_start_time() > '4s'") == "t", "it was idle", 20)
            begun = time.monotonic()
            assert lagging[0].health == "up"
            there.ask("SELECT pg_wal_replay_pause()")
            one.ask("CREATE TABLE more (a int); SELECT 1")
            until(lambda: lagging[0].health != "up", "it has received more than it has", 20)
            behind = parse_duration(lagging[0].read().reason.rpartition(" behind")[0].rpartition(", ")[2])
            assert behind.total_seconds() <= time.monotonic() - begun + 0.001, "which is told to the millisecond"
            assert [looks.health for looks in lagging] == list(BOTH)
            there.ask("SELECT pg_wal_replay_resume()")
        until(lambda: lagging[0].health == "up", "it has all of it again", 30)
        server.send_signal(signal.SIGINT)
        server.wait(20)
        until(lambda: lagging[0].health == "degraded", "it is known that it hears nothing", 30)
