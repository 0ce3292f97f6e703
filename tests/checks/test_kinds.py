"""The kinds that look at this machine, at files, ports and names, each on real things that are well and are not."""

import contextlib
import hashlib
import json
import os
import socket
import sqlite3
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from maintd import jobs
from tests.conftest import environment
from tests.tree import MAINTD

from .conftest import seen

ENDLESS = "WITH RECURSIVE a(b) AS (SELECT 1 UNION ALL SELECT b + 1 FROM a) SELECT max(b) FROM a"


def healths(found: dict[str, dict]) -> dict[str, str]:
    return {name.rpartition(".")[2]: event["health"] for name, event in found.items()}


def test_disk(tree):
    """Space, inodes and free bytes are judged by their limits; a missing mount and a missing path are down."""
    found = seen(
        tree,
        '[check.disk.well]\npath = "HERE"\ndegraded_used = "99.9%"\ndown_used = "100%"\ndegraded_inodes = "99.9%"\n'
        '[check.disk.root]\npath = "/"\nmount = true\ndegraded_used = "99.9%"\ndown_used = "100%"\n'
        '[check.disk.free]\npath = "HERE"\ndown_free = "900T"\n'
        '[check.disk.used]\npath = "HERE"\ndegraded_used = "0.000001%"\ndown_used = "100%"\n'
        '[check.disk.unmounted]\npath = "HERE"\nmount = true\n'
        '[check.disk.missing]\npath = "HERE/nowhere"\n',
    )
    assert healths(found) == {
        "well": "up",
        "root": "up",
        "free": "down",
        "used": "degraded",
        "unmounted": "down",
        "missing": "down",
    }
    assert "nothing is mounted at" in found["check.disk.unmounted"]["reason"]


def test_the_machine(tree):
    """Memory, swap, load, pressure and temperature are read; limits that no machine keeps are told."""
    found = seen(
        tree,
        '[check.memory.well]\ndegraded_used = "99.9%"\ndown_used = "100%"\n[check.memory.low]\ndown_free = "900T"\n'
        "[check.swap.a]\n[check.load.well]\ndegraded_load = 9999\n[check.load.high]\ndown_load = 0\n"
        '[check.pressure.a]\nresource = "memory"\nwho = "full"\n[check.temperature.a]\n',
    )
    assert found["check.memory.well"]["health"] == "up"
    assert found["check.memory.low"]["health"] == "down"
    assert found["check.swap.a"]["health"] in ("up", "degraded", "down")
    assert found["check.load.well"]["health"] == "up"
    assert found["check.load.high"]["health"] == "down"
    assert found["check.pressure.a"]["health"] in ("up", "degraded", "unknown")
    assert found["check.temperature.a"]["reason"]


def test_files(tree):
    """Being there, age, size, count of what changed, rights and content of files, each with what was found instead."""
    tree.log("a.json", b"x" * 5000)
    tree.log("b.json", b"", age=7200)
    tree.log("old.csv", age=7200).chmod(0o640)
    digest = hashlib.sha256((tree.logs / "a.json").read_bytes()).hexdigest()
    options = {
        "fresh": ('paths = ["LOGS/*.json"]\ndown_age = "1h"\ndown_changed = 0\nmode = "0644"', "up"),
        "stale": ('paths = ["LOGS/*.csv"]\ndegraded_age = "1h"\ndown_age = "3h"', "degraded"),
        "none_new": ('paths = ["LOGS/*.csv"]\ndown_changed = 0', "down"),
        "too_few": ('paths = ["LOGS/*.json"]\ndegraded_changed = 1', "degraded"),
        "large": ('paths = ["LOGS/*.json"]\ndown_size = "4K"', "down"),
        "empty": ('paths = ["LOGS/*.json"]\nmin_size = 1', "down"),
        "missing": ('paths = ["LOGS/*.none"]', "down"),
        "one_missing": ('paths = ["LOGS/*.json", "LOGS/no.csv"]', "down"),
        "absent": ('paths = ["LOGS/*.none"]\nabsent = true', "up"),
        "unwanted": ('paths = ["LOGS/*.csv"]\nabsent = true', "down"),
        "mode": ('paths = ["LOGS/*.csv"]\nmode = "0600"', "down"),
        "owner": ('paths = ["LOGS/*.csv"]\nowner = "nobody"', "down"),
        "nobody": ('paths = ["LOGS/*.csv"]\nowner = "no-such-user"', "unknown"),
        "same": (f'paths = ["LOGS/a.json"]\nsha256 = "{digest}"', "up"),
        "changed": (f'paths = ["LOGS/old.csv"]\nsha256 = "{digest}"', "down"),
    }
    found = seen(tree, "".join(f"[check.file.{name}]\n{text}\n" for name, (text, _) in options.items()))
    assert healths(found) == {name: health for name, (_, health) in options.items()}
    assert found["check.file.none_new"]["reason"] == "0 files changed within 10m"
    assert found["check.file.one_missing"]["reason"].endswith("/no.csv is not there")
    assert "has mode 0640, not 0600" in found["check.file.mode"]["reason"]


def test_programs(tree):
    """The exit status says how it is and the output why; one that hangs is ended, with all that it started."""
    marker = tree.folder / "left"
    options = {
        "well": '["/bin/echo", "all", "is well"]',
        "worse": '["/bin/sh", "-c", "echo two queues are long; exit 1"]',
        "broken": '["/bin/sh", "-c", "echo no database >&2; exit 2"]',
        "blind": '["/bin/sh", "-c", "exit 3"]',
        "killed": '["/bin/sh", "-c", "kill -9 $$"]',
        "hangs": f'["/bin/sh", "-c", "(sleep 3; touch {marker}) & sleep 60"]',
        "parts": f'["/bin/sh", "-c", "setsid sh -c \\"sleep 60; touch {marker}\\" & sleep 60"]',
        "missing": '["/no/such/program"]',
    }
    jobs = "".join(f'[check.program.{name}]\ncommand = {text}\ntimeout = "1500ms"\n' for name, text in options.items())
    found = seen(tree, jobs)
    assert healths(found) == dict(
        zip(options, ("up", "degraded", "down", "unknown", "down", "down", "down", "down"), strict=True)
    )
    assert found["check.program.well"]["reason"] == "all is well"
    assert found["check.program.broken"]["reason"] == "status 2: no database"
    assert found["check.program.hangs"]["reason"] == "no answer within 1500ms"
    assert found["check.program.parts"]["health"] == "down"
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _command(pid).find(str(marker).encode()) >= 0]


def _command(pid: str) -> bytes:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()
    return b""


def test_sqlite(tree):
    """A live database answers a query; one that is locked, damaged, empty or missing is down; none is changed."""
    path = tree.folder / "data.sqlite"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE price (at, value)")
    database.execute("INSERT INTO price VALUES (1, 2)")
    (tree.folder / "damaged.sqlite").write_bytes(b"this is no database" * 100)
    locked = sqlite3.connect(tree.folder / "locked.sqlite", isolation_level=None)
    locked.execute("CREATE TABLE a (b)")
    locked.execute("BEGIN EXCLUSIVE")
    takes_long_to_read_through(tree.folder / "slow.sqlite")
    before = path.read_bytes()
    options = {
        "well": f'path = "{path}"\nquery = "SELECT value FROM price"\nexpect = "2"\nquick_check_every = "1d"',
        "other": f'path = "{path}"\nquery = "SELECT value FROM price"\nexpect = "3"',
        "wal": f'path = "{path}"\ndegraded_wal = "1K"',
        "long": f'path = "{path}"\nquery = "{ENDLESS}"',
        "write": f'path = "{path}"\nquery = "DELETE FROM price"',
        "locked": 'path = "HERE/locked.sqlite"',
        "damaged": 'path = "HERE/damaged.sqlite"',
        "missing": 'path = "HERE/missing.sqlite"',
        "empty": 'path = "HERE/empty.sqlite"\nquick_check_every = "1d"',
        "device": 'path = "/dev/zero"',
        "fifo": 'path = "HERE/fifo"',
        "slow": 'path = "HERE/slow.sqlite"\nquick_check_every = "1d"',
    }
    (tree.folder / "empty.sqlite").touch()
    os.mkfifo(tree.folder / "fifo")
    found = seen(tree, "".join(f'[check.sqlite.{name}]\n{text}\ntimeout = "2s"\n' for name, text in options.items()))
    assert healths(found) == {
        "well": "up",
        "other": "down",
        "wal": "degraded",
        "long": "down",
        "write": "down",
        "locked": "down",
        "damaged": "down",
        "missing": "down",
        "empty": "down",
        "device": "down",
        "fifo": "down",
        "slow": "degraded",
    }
    assert found["check.sqlite.slow"]["reason"] == "quick_check was not done within 2s"
    assert found["check.sqlite.empty"]["reason"].endswith("empty.sqlite is empty: there is no database in it")
    assert found["check.sqlite.device"]["reason"] == "/dev/zero is not a regular file"
    assert "quick_check is ok" in found["check.sqlite.well"]["reason"]
    assert found["check.sqlite.long"]["reason"] == "no answer within 2s"
    assert path.read_bytes() == before
    assert not (tree.folder / "missing.sqlite").exists()
    locked.close()
    database.close()


@contextmanager
def listening(answer: bytes) -> Iterator[int]:
    """A TCP server that sends `answer` to whoever has sent something, and keeps the connection open."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                made, _ = listener.accept()
                with made:
                    made.recv(100)
                    made.sendall(answer)
                    made.recv(100)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def takes_long_to_read_through(path):
    """A database whose rows each take some time to be checked, by a column that is worked out from another."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("CREATE TABLE a (b)")
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000)"
    database.execute(f"{rows} INSERT INTO a SELECT i FROM n")
    database.execute("PRAGMA writable_schema = ON")
    table = "CREATE TABLE a (b, c AS (length(hex(zeroblob(20000 + b % 2)))) NOT NULL)"
    database.execute("UPDATE sqlite_schema SET sql = ?", [table])
    database.close()


def test_tcp(tree):
    """A port that takes connections is up; with expect what comes back must match, by the deadline."""
    with listening(b"+PONG\r\n") as port:
        found = seen(
            tree,
            f"[check.tcp.open]\nport = {port}\n"
            f'[check.tcp.says]\nport = {port}\nsend = "PING\\r\\n"\nexpect = "^\\\\+PONG"\n'
            f'[check.tcp.other]\nport = {port}\nsend = "PING\\r\\n"\nexpect = "OK"\ntimeout = "500ms"\n'
            f'[check.tcp.tls]\nport = {port}\ntls = true\ntimeout = "500ms"\n'
            '[check.tcp.closed]\nport = 9\n[check.tcp.name]\nhost = "no-such-host.invalid"\nport = 9\ntimeout = "2s"\n',
        )
    assert healths(found) == {
        "open": "up",
        "says": "up",
        "other": "down",
        "tls": "down",
        "closed": "down",
        "name": "down",
    }
    assert found["check.tcp.other"]["reason"] == "no answer within 500ms"
    assert "no-such-host.invalid" in found["check.tcp.name"]["reason"]


RECORDS = {
    b"well": (1, bytes([192, 0, 2, 1])),
    b"six": (28, bytes.fromhex("20010db8" + "00" * 11 + "01")),
    b"mail": (15, b"\x00\x0a\x04Mail\x04Test\x00"),
    b"text": (16, b"\x05Value"),
}


@contextmanager
def name_server() -> Iterator[int]:
    """Answers RECORDS, NXDOMAIN for "none.…", nothing for "silent.…", nonsense for "broken.…".

    To "lossy.…" it answers when it is asked the same a second time.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))

    lost: set[bytes] = set()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                query, who = made.recvfrom(4096)
                name = query[13 : 13 + query[12]]
                if name in RECORDS:
                    kind, data = RECORDS[name]
                    answer = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
                    made.sendto(query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + query[12:] + answer, who)
                elif name == b"lossy" and query[:2] in lost:
                    made.sendto(query[:2] + struct.pack(">HHHHH", 0x8180, 1, 0, 0, 0) + query[12:], who)
                elif name == b"lossy":
                    lost.add(query[:2])
                elif name == b"none":
                    made.sendto(query[:2] + struct.pack(">HHHHH", 0x8183, 1, 0, 0, 0) + query[12:], who)
                elif name == b"broken":
                    made.sendto(query[:2] + struct.pack(">HHHHH", 0x8180, 1, 9, 0, 0) + b"\xc0\x0c" * 3, who)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield made.getsockname()[1]
    finally:
        made.close()


def test_names_and_addresses_are_compared_as_what_they_mean(tree):
    """An address, and a name whatever its letters and its final dot, is expected in any form; a text in its own."""
    records = {
        "six": ("AAAA", "2001:DB8:0::1", "2001:db8::2"),
        "mail": ("MX", "10 mail.test", "20 mail.test."),
        "text": ("TXT", "Value", "value"),
    }
    with name_server() as port:
        found = seen(
            tree,
            "".join(
                f'[check.dns.{name}-{n}]\nname = "{name}.example"\nserver = "127.0.0.1"\nport = {port}\n'
                f'type = "{kind}"\nexpected = ["{record}"]\n'
                for name, (kind, *expected) in records.items()
                for n, record in enumerate(expected)
            ),
        )
    assert healths(found) == {f"{name}-{n}": "down" if n else "up" for name in records for n in range(2)}
    tree.write_config(f'[check.dns.a]\nname = "{".".join(["a" * 60] * 5)}"\n')
    assert "is no name of the DNS" in tree.run("check").stderr


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.isdir("/sys/class/thermal"), reason="needs root, and sysfs")
def test_the_warmest_sensor_is_named_and_may_be_left_out(tree):
    """An input without a sensor (255 °C) does not count; the warmest is named, and by that name left out."""
    for zone, (celsius, name) in enumerate([(45, "cpu"), (99, "aux 1"), (255, "nothing"), (40, "board")]):
        folder = tree.folder / f"thermal/thermal_zone{zone}"
        folder.mkdir(parents=True)
        (folder / "temp").write_text(f"{celsius}000\n")
        (folder / "type").write_text(f"{name}\n")
    tree.write_config('[check.temperature.a]\n[check.temperature.b]\nexclude = ["aux *"]\n')
    mounts = f"mount --bind {tree.folder}/thermal /sys/class/thermal"
    mounts += f" && if [ -d /sys/class/hwmon ]; then mount --bind {tree.logs} /sys/class/hwmon; fi"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mounts} && exec "$0" -c {tree.config} do --all --json', MAINTD],
        check=False,
        capture_output=True,
        env=environment(),
        timeout=60,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    said = {event["job"]: event["reason"] for event in events if event.get("event") == "check.seen"}
    assert said["check.temperature.a"] == "99 °C at aux 1, the warmest"
    assert said["check.temperature.b"] == "45 °C at cpu, the warmest"


def test_dns(tree):
    """Records are compared; a name that is not there, silence and nonsense are down, and one lost datagram is not."""
    with name_server() as port:
        common = f'server = "127.0.0.1"\nport = {port}\ntimeout = "1s"\n'
        found = seen(
            tree,
            f'[check.dns.well]\nname = "well.example"\nexpected = ["192.0.2.1"]\n{common}'
            f'[check.dns.other]\nname = "well.example"\nexpected = ["192.0.2.2"]\n{common}'
            f'[check.dns.none]\nname = "none.example"\n{common}'
            f'[check.dns.silent]\nname = "silent.example"\n{common}'
            f'[check.dns.broken]\nname = "broken.example"\n{common}'
            f'[check.dns.lossy]\nname = "lossy.example"\n{common}',
        )
    assert found.pop("check.dns.lossy")["reason"] == "it has no record of type A"
    assert healths(found) == {"well": "up", "other": "down", "none": "down", "silent": "down", "broken": "down"}
    assert "NXDOMAIN" in found["check.dns.none"]["reason"]
    assert "is no answer" in found["check.dns.broken"]["reason"]


@pytest.mark.parametrize("option", ['degraded_used = "85"', "degraded_used = 85", 'degraded_used = "120%"'])
def test_what_is_no_percentage_is_refused(tree, option):
    tree.write_config(f"[check.disk.a]\n{option}\n")
    done = tree.run("check")
    assert done.returncode == 1
    assert "check.disk.a.degraded_used: " in done.stderr


def test_how_often_any_kind_looks_can_be_said(tree):
    """`every` is a duration as everywhere, also where a kind has a default of its own."""
    kinds = [kind for kind in jobs.kinds() if kind.startswith("check.")]
    tree.write_config("".join(f'[{kind}.a]\nevery = "6h"\n' for kind in kinds))
    told = tree.run("check").stderr
    assert "check.tls.a.host" in told  # what is wrong is told: some options are missing
    assert ".every: " not in told
