"""`check.redis` and `check.postgres` against Debian's servers: well, with a wrong password, full, and frozen."""

import contextlib
import json
import os
import pwd
import shutil  # noqa: TID251 - only to find a tool
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import environment, until
from tests.tree import ROOT, Tree

from .servers import listens

EXTRAS = ROOT / ".venv-extras/bin/maintd"
REDIS = shutil.which("redis-server")
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
needs_redis = pytest.mark.skipif(REDIS is None, reason="Redis is missing: apt-get install redis-server")
needs_postgres = pytest.mark.skipif(
    not POSTGRES or os.geteuid() != 0, reason="needs root, and PostgreSQL: apt-get install postgresql"
)


def seen(tree: Tree, jobs: str) -> dict[str, dict]:
    """What each check sees, in the environment that has the extras."""
    tree.write_config(jobs)
    done = subprocess.run(
        [EXTRAS, "-c", tree.config, "do", "--all", "--json"],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=90,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events, done.stderr
    return {event["job"].rpartition(".")[2]: event for event in events if event.get("event") == "check.seen"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        return made.getsockname()[1]


@contextlib.contextmanager
def ended(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@needs_redis
def test_redis(tree):
    """A Redis is up with the right password; a wrong one, one without room, one that is frozen: down by the deadline.

    Memory against maxmemory is judged. Without the extra the check is unknown, and says how to install it.
    """
    port, folder = free_port(), tree.folder
    (folder / "right").write_text("s3cret\n")
    (folder / "wrong").write_text("wr0ng\n")
    arguments = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--requirepass",
        "s3cret",
        "--maxmemory",
        "20mb",
        "--maxclients",
        "8",
    ]
    server = subprocess.Popen(
        [REDIS, *arguments, "--dir", str(folder), "--save", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with ended(server):
        until(lambda: listens(port), "Redis listens")
        common = f'port = {port}\ntimeout = "5s"\n'
        right = f'{common}password_file = "{folder}/right"\n'
        jobs = f'[check.redis.well]\n{right}degraded_time = "4s"\n'
        found = seen(
            tree,
            f'{jobs}[check.redis.wrong]\n{common}password_file = "{folder}/wrong"\n[check.redis.none]\n{common}'
            f'[check.redis.full]\n{right}degraded_time = "4s"\ndegraded_memory = "1%"\n',
        )
        healths = {name: event["health"] for name, event in found.items()}
        assert healths == {"well": "up", "wrong": "down", "none": "down", "full": "degraded"}, found
        assert "it refuses to let us in" in found["wrong"]["reason"]
        assert "s3cret" not in str(found)
        assert "wr0ng" not in str(found)
        with contextlib.ExitStack() as others:
            for _ in range(8):
                others.enter_context(socket.create_connection(("127.0.0.1", port)))
            found = seen(tree, f"[check.redis.crowded]\n{right}")
        assert found["crowded"]["health"] == "down"
        assert "max number of clients reached" in found["crowded"]["reason"]
        server.send_signal(signal.SIGSTOP)
        found = seen(tree, f"[check.redis.frozen]\n{right}".replace('"5s"', '"2s"'))
        assert found["frozen"]["reason"] == "no answer within 2s"
        server.send_signal(signal.SIGCONT)
    assert seen(tree, jobs)["well"]["health"] == "down"
    (without,) = tree.do().events("check.seen")
    assert (without["health"], without["advice"]) == ("unknown", "install maintd with the extra redis: maintd[redis]")


@needs_redis
def test_a_sentinel_is_no_redis(tree):
    """A Redis Sentinel, which keeps no data, is unknown, and what would see whether it answers is said."""
    port, config = free_port(), tree.folder / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 9 1\n")
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with ended(subprocess.Popen([REDIS, config, "--sentinel"], **silent)):
        until(lambda: listens(port), "it listens")
        found = seen(tree, f"[check.redis.a]\nport = {port}\n")["a"]
    assert found["health"] == "unknown"
    assert found["reason"] == "its INFO has no used_memory"
    assert "check.tcp" in found["advice"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[tuple[int, str, subprocess.Popen]]:
    """A server of its own: its port, the folder with its socket and passwords, and its process."""
    entry = pwd.getpwnam("postgres")
    tools = POSTGRES[-1].parent
    with tempfile.TemporaryDirectory(prefix="maintd-pg-", ignore_cleanup_errors=True) as folder:
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        Path(folder, "right").write_text("s3cret\n")
        Path(folder, "wrong").write_text("wr0ng\n")
        os.chmod(f"{folder}/right", 0o644)
        options = {"user": "postgres", "group": "postgres", "cwd": folder, "stdout": subprocess.DEVNULL}
        initdb = [tools / "initdb", "-D", f"{folder}/data", "-U", "admin", "-A", "scram-sha-256", "--no-sync"]
        subprocess.run([*initdb, f"--pwfile={folder}/right"], check=True, **options)
        port = free_port()
        settings = ("listen_addresses=", "fsync=off", "max_connections=6", "superuser_reserved_connections=3")
        few = [f"-c{setting}" for setting in settings]
        server = subprocess.Popen(
            [tools / "postgres", "-D", f"{folder}/data", "-p", str(port), "-k", folder, *few],
            stderr=subprocess.DEVNULL,
            **options,
        )
        with ended(server):
            pid_file = Path(folder, "data/postmaster.pid")  # it listens before it answers
            until(lambda: pid_file.exists() and "ready" in pid_file.read_text(), "PostgreSQL answers", 30)
            yield port, folder, server


@needs_postgres
def test_postgres(tree, postgres):
    """A PostgreSQL is up with the right password and the expected answer; a wrong one, a query too slow: down."""
    port, folder, _ = postgres
    where = f'conninfo = "host={folder} port={port} dbname=postgres user=admin"\ntimeout = "8s"\n'
    where += 'degraded_connections = "100%"\ndown_connections = "100%"\n'
    right = f'{where}password_file = "{folder}/right"\ndegraded_time = "7s"\n'
    found = seen(
        tree,
        f'[check.postgres.well]\n{right}query = "SELECT 40 + 2"\nexpect = "42"\n'
        f'[check.postgres.other]\n{right}query = "SELECT 1"\nexpect = "2"\n'
        f'[check.postgres.wrong]\n{where}password_file = "{folder}/wrong"\n'
        f'[check.postgres.nonsense]\n{right}query = "SELEKT"\n'
        + f'[check.postgres.slow]\n{right}query = "SELECT pg_sleep(60)"\n'.replace('"8s"', '"3s"'),
    )
    healths = {name: event["health"] for name, event in found.items()}
    assert healths == {"well": "up", "other": "down", "wrong": "down", "nonsense": "down", "slow": "down"}, found
    assert "password authentication failed" in found["wrong"]["reason"]
    assert found["slow"]["reason"] == "no answer within 3s"
    assert "s3cret" not in str(found)


@needs_postgres
def test_postgres_is_only_read(tree, postgres):
    """A query that writes is refused by the server and changes nothing, also in pieces; `maintd plan` looks alike."""
    port, folder, _ = postgres
    psql = [POSTGRES[-1].parent / "psql", "-h", folder, "-p", str(port), "-U", "admin", "-Atc"]

    def ask(query: str) -> str:
        done = subprocess.run([*psql, query, "postgres"], check=True, capture_output=True, env={"PGPASSWORD": "s3cret"})
        return done.stdout.decode().strip()

    ask("CREATE TABLE kept AS SELECT generate_series(1, 50) i")
    queries = {
        "delete": "DELETE FROM kept RETURNING 1",
        "pieces": "COMMIT; BEGIN READ WRITE; DELETE FROM kept RETURNING 1; COMMIT",
        "setting": "SELECT set_config('transaction_read_only', 'off', false)",
        "with": "WITH gone AS (DELETE FROM kept RETURNING 1) SELECT count(*) FROM gone",
    }
    where = f'conninfo = "host={folder} port={port} dbname=postgres user=admin"\npassword_file = "{folder}/right"\n'
    jobs = "".join(f'[check.postgres.{name}]\n{where}query = "{query}"\n' for name, query in queries.items())
    found = seen(tree, jobs)
    assert {name: event["health"] for name, event in found.items()} == dict.fromkeys(queries, "down")
    assert "read-only transaction" in found["delete"]["reason"]
    assert "multiple commands" in found["pieces"]["reason"]
    subprocess.run([EXTRAS, "-c", tree.config, "plan"], check=False, capture_output=True, env=environment(), timeout=90)
    assert ask("SELECT count(*) FROM kept") == "50"


@needs_postgres
def test_postgres_at_its_limit_and_frozen(tree, postgres):
    """Connections near the limit are degraded or down; a server that is frozen is down by the deadline, no later.

    A role that is not shown what others do is told so, and the check is unknown; with pg_monitor it sees them.
    """
    port, folder, server = postgres
    where = f'conninfo = "host={folder} port={port} dbname=postgres user=admin"\ntimeout = "8s"\n'
    right = f'{where}password_file = "{folder}/right"\ndegraded_time = "7s"\n'
    psql = [POSTGRES[-1].parent / "psql", "-h", folder, "-p", str(port), "-U", "admin", "postgres"]
    roles = "CREATE ROLE {0} LOGIN PASSWORD 's3cret'; GRANT pg_read_all_data TO {0}; "
    sql = roles.format("plain") + roles.format("monitor") + "GRANT pg_monitor TO monitor"
    subprocess.run([*psql, "-c", sql], check=True, stdout=subprocess.DEVNULL, env={"PGPASSWORD": "s3cret"})
    pools = []

    def connect() -> None:
        pools.append(
            subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PGPASSWORD": "s3cret"})
        )
        pools[-1].stdin.write(b"SELECT 'ready';\n")
        pools[-1].stdin.flush()
        until(lambda: b"ready" in pools[-1].stdout.readline(), "it is connected")

    try:
        connect()
        unlike = {name: right.replace("user=admin", f"user={name}") for name in ("plain", "monitor")}
        found = seen(
            tree, "".join(f'[check.postgres.{name}]\n{text}down_connections = "30%"\n' for name, text in unlike.items())
        )
        assert (found["plain"]["health"], found["plain"]["advice"]) == ("unknown", "GRANT pg_monitor to that role")
        assert found["monitor"]["health"] == "down"
        connect()
        connect()
        found = seen(tree, f"[check.postgres.full]\n{right}")
        assert (found["full"]["health"], found["full"]["reason"]) == ("down", "3 of 3 connections")
    finally:
        for pool in pools:
            pool.communicate()
    server.send_signal(signal.SIGSTOP)
    found = seen(tree, f"[check.postgres.frozen]\n{right}".replace('"8s"', '"3s"'))
    assert (found["frozen"]["health"], found["frozen"]["reason"]) == ("down", "no answer within 3s")
