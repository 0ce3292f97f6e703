"""Live databases looked after: indexes made as declared, probes measured, writers never held up for long."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maintd.child import Worker
from maintd.errors import TimedOut

from .conftest import environment, until
from .test_backup import database
from .tree import MAINTD, NOBODY, Did, Tree

JOB = '[sqlite.main]\ncron = "@daily"\npaths = ["LOGS/*.db"]\n'


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Tree(Path(folder).resolve(), JOB)


def ask(path: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as found:
        return found.execute(query).fetchall()


def indexes(path: Path) -> list[str]:
    return [name for (name,) in ask(path, "SELECT name FROM sqlite_schema WHERE type = 'index' ORDER BY name")]


def did(tree: Tree, options: str, code: int = 0) -> Did:
    window = 'window = "00:00-23:59"\n' if "vacuum" in options or "page_size" in options else ""
    tree.write_config(JOB + window + options)
    found = tree.do()
    assert found.code == code, str(found)
    return found


def test_declared_indexes_are_made_once(tree):
    """Plain, unique, partial and expression indexes are made as declared, and found again by the next run."""
    path = database(tree.logs / "a.db")
    declared = ["trades(price, note DESC)", "unique trades(note)", "trades(id) where price > 3", "trades(lower(note))"]
    options = f"indexes = {declared}\n"
    assert [event["declared"] for event in did(tree, options).events("index.created")] == declared
    assert len(indexes(path)) == 4
    again = did(tree, options)
    assert again.events("index.created") == []
    assert {event["how"] for event in again.events("index.found")} == {"there"}


def test_rows_that_are_not_unique_fail_that_index_alone(tree):
    """A unique index over equal rows is a failure that names its declaration; those behind it are made, and a table is
    found however its name is written."""
    path = database(tree.logs / "a.db")
    ask(path, "UPDATE trades SET note = 'same'")
    found = did(tree, 'indexes = ["unique Trades(note)", "TRADES(price)"]\n', code=5)
    assert "the index unique Trades(note) cannot be made" in found.event("database.failed")["error_msg"]
    assert found.event("index.created")["declared"] == "TRADES(price)"
    assert indexes(path) == ["maintd_trades_price"]


def test_an_index_under_another_name_is_found(tree):
    """An index that the service made itself, or a wider one that begins with the same columns, is not made again."""
    path = database(tree.logs / "a.db")
    ask(path, "CREATE INDEX own ON trades (price, note)")
    found = did(tree, 'indexes = ["trades(price, note)", "trades(price)"]\n').events("index.found")
    assert [(event["index"], event["how"]) for event in found] == [
        ("own", "there"),
        ("own", "the beginning of another"),
    ]
    assert indexes(path) == ["own"]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("trades(nothing)", "nothing"),
        ('trades("nothing")', "on table trades: no such column"),
        ("orders(id)", "no table orders"),
        ("gibberish", "no index"),
        ("trades(note); DELETE FROM trades", "more than one statement"),
        ("trades(note) where 1; DELETE FROM trades", "more than one statement"),
    ],
)
def test_an_index_on_what_is_not_there_is_an_error(tree, declared, said):
    """A table or column that does not exist is named together with the index, and nothing at all is made."""
    path = database(tree.logs / "a.db")
    options = f"indexes = {json.dumps(['trades(price)', declared])}\n"
    failed = did(tree, options, code=5).event("database.failed")
    assert ask(path, "SELECT count(*) FROM trades") == [(100,)]
    assert declared in failed["error_msg"]
    assert said in failed["error_msg"]
    assert indexes(path) == []


def test_a_probe_shows_what_an_index_is_worth(tree):
    """The plan and the time of a probe are told before and after."""
    database(tree.logs / "a.db", 5000)
    told = did(tree, 'indexes = ["trades(note)"]\nprobes = ["SELECT * FROM trades where note = \'note 17\'"]\n').event(
        "probe.measured"
    )
    assert told["plan_before"].startswith("SCAN trades")
    assert "USING INDEX" in told["plan_after"]
    assert told["before_ms"] >= 0


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("DELETE FROM trades", "may only read"),
        ("SELECT 1; PRAGMA query_only = 0; DELETE FROM trades", "may only read"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("WITH one AS (SELECT 1) DELETE FROM trades", "may only read"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", "longer than 1s"),
    ],
)
def test_a_probe_that_writes_or_never_ends_is_refused(tree, query, said):
    """A probe can only read, and has query_timeout."""
    path = database(tree.logs / "a.db")
    failed = did(tree, f'query_timeout = "1s"\nprobes = ["{query}"]\n', code=5).event("database.failed")
    assert said in failed["error_msg"]
    assert ask(path, "SELECT count(*) FROM trades") == [(100,)]


def test_a_probe_that_is_no_query_does_nothing(tree):
    """What changes a database, its files or its mode by other means than rows is refused, and the next probe is asked
    as ever; what SQLite cannot break off, or what takes too much memory, is a failure all the same."""
    path = database(tree.logs / "a.db")
    others = ["PRAGMA journal_mode=delete", "PRAGMA wal_checkpoint(TRUNCATE)", f"VACUUM INTO '{tree.logs}/b.db'"]
    others += ["REINDEX", "PRAGMA locking_mode = exclusive", f"ATTACH '{tree.logs}/c.db' AS c"]
    tree.write_config(JOB + 'probes = ["REINDEX"]\n')
    assert "may only read" in tree.run("check").stderr
    large = "SELECT length(hex(zeroblob(100000000)))"
    endless = "SELECT sum(length(hex(zeroblob(10000000 + id)))) FROM trades where id < 20"
    wanted = [*others, large, endless, "SELECT count(*) FROM trades"]
    failed = did(tree, f'query_timeout = "100ms"\nprobes = {json.dumps(wanted)}\n', code=5)
    said = failed.event("database.failed")["error_msg"]
    assert said.count("may only read") == len(others)
    assert f"more than 128.0 MiB of memory, and was broken off: {large}" in said
    assert f"took longer than 100ms and was broken off: {endless}" in said
    assert failed.event("probe.measured")["query"] == wanted[-1]
    assert ask(path, "PRAGMA journal_mode") == [("wal",)]
    assert tree.names() == ["a.db"]


def test_a_long_query_of_a_copy_is_not_taken_for_silence(tree):
    """What examines a copy says that it is at work: it is ended by the limit of the query, not as a silent process."""
    path = database(tree.logs / "a.db", mode="DELETE")
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    where = {"directory": str(path.parent), "name": path.name}
    with Worker(background=False, patience=4) as worker, pytest.raises(TimedOut, match="longer than 6s and was broken"):
        worker.call("maintd.livedb:examine", {"where": where, "invariants": [endless], "seconds": 6})


def test_a_check_that_takes_too_long_says_what_would_allow_it(tree):
    """quick_check that max_pause ends names options that there are."""
    path = database(tree.logs / "a.db", mode="DELETE")
    rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT 1 FROM n"
    ask(
        path, "CREATE TABLE small (x INTEGER NOT NULL CHECK (length(hex(printf('%d', x))) > 0))"
    )  # such rows take more time than their bytes
    ask(path, f"INSERT INTO small {rows}")
    found = did(tree, 'max_pause = "12ms"\noptimize = false\n', code=1)
    advice = found.event("database.failed")["advice"]
    assert "integrity_check = true" in advice
    assert "max_pause" in advice


def test_an_invariant_writes_no_file(tree):
    """What a backup asks of a copy may only read, too."""
    database(tree.logs / "a.db")
    query = f"VACUUM INTO '{tree.folder}/b.db'"
    tree.write_config(
        f'[backup.app]\ncron = "@daily"\ndatabases = ["LOGS/*.db"]\ndestination = "HERE/kept"\n'
        f'[backup.app.invariants]\n"LOGS/*.db" = [{json.dumps(query)}]\n'
    )
    assert "may only read" in tree.do().events("backup.failed")[0]["error_msg"]
    assert not (tree.folder / "b.db").exists()


def test_a_probe_with_many_rows_takes_no_memory(tree):
    """1.2 GiB of rows are read by a probe in a process that may have one."""
    path = database(tree.logs / "a.db", 300)
    tree.write_config(JOB + 'query_timeout = "80s"\nprobes = ["SELECT zeroblob(4194304) FROM trades"]\n')
    line = ["prlimit", f"--as={1 << 30}", MAINTD, "-c", str(tree.config), "do", "--all", "--json"]
    done = subprocess.run(line, check=False, capture_output=True, text=True, env=environment(), timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"probe.measured"' in done.stdout
    assert ask(path, "SELECT count(*) FROM trades") == [(300,)]


MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
"""Runs a command, and prints its peak memory (KiB), which would begin with that of the tests if they had begun it."""


def test_what_is_larger_than_the_cache_is_sorted_in_files(tree):
    """An index and a VACUUM of 60 MB take files, which lie where maintd keeps its own, and no memory to speak of."""
    path = tree.logs / "a.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute("CREATE TABLE trades (id INTEGER PRIMARY KEY, note BLOB)")
        made.execute("INSERT INTO trades (note) VALUES " + ", ".join(["(randomblob(40000))"] * 1500))
        made.execute("DELETE FROM trades WHERE id % 10 = 0")
    options = 'window = "00:00-23:59"\nmax_pause = "60s"\nvacuum_over = 0.01\nindexes = ["trades(note)"]\n'
    tree.write_config(JOB + options)
    line = [sys.executable, "-IS", "-c", MEASURED, MAINTD, "-c", str(tree.config), "do", "--all", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stdout
    assert indexes(path) == ["maintd_trades_note"]
    assert ask(path, "PRAGMA freelist_count") == [(0,)]
    assert int(done.stderr.splitlines()[-1]) < 80 << 10
    assert list((tree.folder / "state/stores/databases").iterdir()) == []


def test_an_index_is_made_for_a_probe_that_takes_too_long_without_it(tree):
    """A probe that query_timeout ends before is asked again once its index is there; one that it ends then is a
    failure, and the index is told."""
    database(tree.logs / "a.db", 20_000)
    slow = "SELECT sum((SELECT count(*) FROM trades AS b where b.note = a.note)) FROM trades AS a"
    options = f'query_timeout = "1s"\noptimize = false\nindexes = ["trades(note)"]\nprobes = ["{slow}"]\n'
    told = did(tree, options)
    assert told.event("index.created")["declared"] == "trades(note)"
    probe = told.event("probe.measured")
    assert "before_ms" not in probe
    assert probe["after_ms"] < 1000
    assert "over query_timeout → " in probe["msg"]
    endless = slow.replace("b.note = a.note", "b.note = a.note || 'x' or b.price = a.price + 1")
    told = did(tree, options.replace(slow, endless).replace("trades(note)", "trades(id, note)"), code=5)
    assert told.event("index.created")["declared"] == "trades(id, note)"
    assert "took longer than 1s" in told.event("database.failed")["error_msg"]


def test_an_index_that_takes_too_long_leaves_the_others(tree):
    """What max_pause breaks off is a failure that names the index; those before and behind it are made and told."""
    path = database(tree.logs / "a.db", 20_000)
    slow = "trades(length(hex(zeroblob(200000 + id % 2))))"
    declared = ["trades(price)", slow, "trades(note)"]
    told = did(tree, f'max_pause = "1s"\nindexes = {json.dumps(declared)}\n', code=5)
    assert [event["declared"] for event in told.events("index.created")] == [declared[0], declared[2]]
    assert f"making the index {slow} took longer" in told.event("database.failed")["error_msg"]
    assert len(indexes(path)) == 2


def test_nothing_is_dropped_while_what_is_declared_cannot_be_made(tree):
    """With drop_undeclared a table keeps its indexes as long as one that is declared for it is not there."""
    path = database(tree.logs / "a.db")
    ask(path, "CREATE INDEX own ON trades (price)")
    ask(path, "UPDATE trades SET note = 'same'")
    asked = 'indexes = ["unique trades(note)"]\ndrop_undeclared = true\n'
    assert did(tree, asked, code=5).events("index.dropped") == []
    assert indexes(path) == ["own"]
    ask(path, "UPDATE trades SET note = id")
    assert did(tree, asked).event("index.dropped")["index"] == "own"


def test_texts_in_conditions_are_compared_as_they_are(tree):
    """A partial index with another text in its condition is another index; blanks and case outside of it are none."""
    path = database(tree.logs / "a.db")
    ask(path, "CREATE INDEX low ON trades (price) WHERE note = 'new  one'")
    declared = ["trades(price) where note = 'NEW  one'", "trades(price) where note = 'new one'"]
    told = did(tree, f"indexes = {json.dumps([*declared, 'trades(price)  where NOTE=' + repr('new  one')])}\n")
    assert [event["declared"] for event in told.events("index.created")] == declared
    assert told.event("index.found")["index"] == "low"


def test_a_database_that_is_always_locked_or_gone_is_a_failure(tree):
    """At each run that could not look after a database that somebody holds, or that is not where the job names it. What
    could not be begun has not taken its WAL mode from it, and that is not said."""
    path = database(tree.logs / "a.db")
    tree.write_config(JOB.replace("LOGS/*.db", "LOGS/gone.db") + "optimize = false\n")
    told = tree.do()
    assert told.code == 1
    assert told.event("database.failed")["target"] == str(tree.logs / "gone.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA locking_mode = EXCLUSIVE")
        writer.execute("INSERT INTO trades (note) VALUES ('by who does not let go')")
        told = did(tree, 'max_pause = "20s"\npage_size = 8192\noptimize = false\nquick_check = false\n', code=1)
    assert "a.db stayed locked" in told.event("database.failed")["error_msg"]
    assert "WAL mode" not in told.event("database.failed")["error_msg"]
    assert "let go of it" in told.event("database.failed")["advice"]


def test_statistics_are_not_written_where_nobody_may_write(tree):
    """A database that not even its owner may write is as it was, also under root."""
    path = database(tree.logs / "a.db", 5000, mode="DELETE")
    path.chmod(0o444)
    before = path.read_bytes()
    assert [event["what"] for event in did(tree, "").events("database.kept")] == ["quick_check found nothing"]
    assert path.read_bytes() == before


WRITING = """
import sqlite3, sys, time
writer = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
print("begun", flush=True)
while True:
    writer.execute("INSERT INTO trades (price, note) VALUES (1, 2)")
    time.sleep(0.001)
"""


def test_statistics_are_made_beside_a_busy_writer(tree):
    """Each of several runs finds a new index without statistics, and makes them; the writer meets no SQLITE_BUSY."""
    path = database(tree.logs / "a.db", 2000)
    with subprocess.Popen([sys.executable, "-c", WRITING, path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"begun\n"
        try:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as other:
                for name in ("one", "two", "three", "four"):
                    other.execute(f"CREATE INDEX {name} ON trades (note, price)")
                    did(tree, "quick_check = false\n")
                    assert (name,) in other.execute("SELECT idx FROM sqlite_stat1").fetchall()
            assert writer.poll() is None
        finally:
            writer.kill()


def test_what_would_hold_up_writers_too_long_is_refused(tree):
    """An index whose estimate is beyond max_pause is not begun; the estimate and the way out are told."""
    path = database(tree.logs / "a.db", 20_000)
    failed = did(tree, 'indexes = ["trades(note)"]\nmax_pause = "1ms"\noptimize = false\n', code=5).event(
        "database.failed"
    )
    assert "max_pause is 1ms" in failed["error_msg"]
    assert "would hold up its writers for about" in failed["error_msg"]
    assert 'window = "03:00-05:00" and max_pause = "1s"' in failed["advice"]
    assert indexes(path) == []


def test_a_check_that_would_hold_up_writers_too_long_is_a_failure(tree):
    """A database that is not checked is not taken for checked: both say what would allow them; false ends that."""
    database(tree.logs / "a.db", 20_000, mode="DELETE")
    failed = did(tree, 'integrity_check = true\nmax_pause = "1ms"\noptimize = false\n', code=1).events(
        "database.failed"
    )
    assert ["quick_check" in event["error_msg"] for event in failed] == [True, False]
    assert all('window = "03:00-05:00" and max_pause = "1s"' in event["advice"] for event in failed)
    assert did(tree, 'quick_check = false\nmax_pause = "1ms"\noptimize = false\n').messages


def test_a_large_log_is_checkpointed_and_free_pages_given_back(tree):
    """A WAL over checkpoint_over is moved into the database; VACUUM comes only where enough is free."""
    path = database(tree.logs / "a.db", 5000)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("DELETE FROM trades WHERE id > 10")
        found = did(tree, 'checkpoint_over = "10K"\nvacuum_over = 0.5\n')
        assert any("write-ahead log" in event["what"] for event in found.events("database.kept"))
        assert Path(f"{path}-wal").stat().st_size == 0
    size = path.stat().st_size
    assert any(event.get("changed_bytes", 0) > 0 for event in did(tree, "vacuum_over = 0.5\n").events("database.kept"))
    assert path.stat().st_size < size
    assert ask(path, "SELECT count(*) FROM trades") == [(11,)]


@pytest.mark.parametrize(("before", "after", "code"), [(3000, 10, 0), (10, 3000, 5)], ids=["the rest", "most of it"])
def test_what_a_reader_keeps_from_being_moved(tree, before, after, code):
    """Pages that came after a reader had begun stay in the WAL for the next time; it fails if they are most of it."""
    path = database(tree.logs / "a.db", 10)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT i FROM n"
        fill = f"INSERT INTO trades (price, note) SELECT 1, hex(randomblob(100)) FROM ({numbers})"
        writer.execute(fill, (before,))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM trades").fetchone()
            writer.execute(fill, (after,))
            found = did(tree, 'checkpoint_over = "10K"\noptimize = false\n', code)
    if code:
        assert "a reader holds on to its write-ahead log" in found.event("database.failed")["error_msg"]
    else:
        assert any("are still read" in event["what"] for event in found.events("database.kept"))


def test_a_checkpoint_of_somebody_else_is_no_failure(tree):
    """While another connection moves the log, for however long, that is left to it, and said."""
    path = database(tree.logs / "a.db", 10)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("INSERT INTO trades (price, note) VALUES (1, hex(randomblob(20000)))")
        with taken(Path(f"{path}-shm"), CHECKPOINT_LOCK):
            found = did(tree, 'checkpoint_over = "10K"\noptimize = false\n')
        assert "somebody else is moving its write-ahead log" in [
            event["what"] for event in found.events("database.kept")
        ]
        found = did(tree, 'checkpoint_over = "10K"\noptimize = false\n')
        assert any("moved" in event["what"] for event in found.events("database.kept"))


CHECKPOINT_LOCK = 121
"""The byte of the shared memory that whoever checkpoints locks: https://sqlite.org/walformat.html, 2.3.1."""


@contextlib.contextmanager
def taken(path: Path, byte: int) -> Iterator[None]:
    """Another process holds a lock on that byte of the file."""
    code = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX, 1, int(sys.argv[2]))"
    command = [sys.executable, "-c", f"{code}; print('locked', flush=True); sys.stdin.read()", str(path), str(byte)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        yield
        other.stdin.close()


def test_damage_is_found_by_the_check(tree):
    """quick_check of a damaged database is a failure."""
    path = database(tree.logs / "a.db", 5000, mode="DELETE")
    with path.open("r+b") as file:
        file.seek(3 * 4096 + 100)
        file.write(b"\xff" * 3000)
    assert any(
        "restore" in event["advice"] for event in did(tree, "optimize = false\n", code=1).events("database.failed")
    )


def test_what_is_damaged_is_not_changed(tree):
    """After a check has found damage nothing writes to that database in the run; another one is looked after."""
    path, other = database(tree.logs / "a.db", 5000, mode="DELETE"), database(tree.logs / "b.db")
    ask(path, "CREATE TABLE small (x)")
    with path.open("r+b") as file:
        file.seek(3 * 4096 + 100)
        file.write(b"\xff" * 3000)
    before = path.read_bytes()
    found = did(tree, 'indexes = ["trades(price)"]\njournal_mode = "wal"\n', code=5)
    assert [event["error"] for event in found.events("database.failed")] == ["damaged"]
    assert path.read_bytes() == before
    assert len(indexes(other)) == 1
    ask(other, "CREATE TABLE small (x)")
    found = did(tree, 'indexes = ["small(x)"]\njournal_mode = "wal"\n', code=5)
    assert path.read_bytes() == before
    assert found.event("index.created")["target"] == str(other)


def test_odd_databases_are_looked_after_and_what_is_none_is_told(tree):
    """FTS5, generated columns, WITHOUT ROWID and a read-only file are no obstacle; an encrypted or a foreign file is
    a failure with advice, and is as it was; an empty one is let be, a link passed over."""
    path = tree.logs / "odd.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.executescript("""
            CREATE VIRTUAL TABLE places USING rtree(id, low, high); INSERT INTO places VALUES (1, 2, 3);
            CREATE VIRTUAL TABLE notes USING fts5(body); INSERT INTO notes VALUES ('one word');
            CREATE TABLE k (a TEXT, b INT, c AS (b * 2) STORED, d AS (b + 1), PRIMARY KEY (a, b)) WITHOUT ROWID;
            INSERT INTO k VALUES ('x', 1), ('y', 2);
        """)
    path.chmod(0o444)
    outside = database(tree.folder / "outside.db")
    (tree.logs / "link.db").symlink_to(outside)
    strange = {tree.log("encrypted.db", os.urandom(8192)), tree.log("foreign.db", b"no database\n" * 100)}
    tree.log("empty.db", b"")
    before = {one: one.read_bytes() for one in (*strange, outside)}
    probes = '"SELECT a FROM k where d = 3", "SELECT body FROM notes where notes MATCH \'word\'"'
    probes += ', "SELECT id FROM places where low < 5", "PRAGMA foreign_key_check"'
    tree.write_config(JOB + f"integrity_check = true\nprobes = [{probes}]\n")
    found = tree.do()
    failed = found.events("database.failed")
    assert {Path(event["target"]) for event in failed} == strange
    assert all("exclude it" in event["advice"] for event in failed)
    assert len(found.events("probe.measured")) == 4
    assert {one: one.read_bytes() for one in (*strange, outside)} == before
    tree.write_config(JOB.replace("*.db", "odd.db") + 'indexes = ["k(c)", "k(d)"]\n')
    assert tree.do().code == 0
    assert len(indexes(path)) == 2
    assert path.stat().st_mode & 0o777 == 0o444


def test_what_litestream_owns_is_only_read(tree):
    """A database that litestream replicates is checked and asked, and nothing of it, or of its log, is changed."""
    path = database(tree.logs / "a.db")
    (tree.logs / ".a.db-litestream").mkdir()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("INSERT INTO trades VALUES (1000, 1.0, '')")
        files = [path, Path(f"{path}-wal")]
        before = [one.read_bytes() for one in files]
        asked = 'indexes = ["trades(note)"]\nprobes = ["SELECT * FROM trades"]\ncheckpoint_over = "1K"\n'
        told = did(tree, asked + "vacuum_over = 0.01\nintegrity_check = true\n")
        assert [one.read_bytes() for one in files] == before
    assert {event["event"] for event in told.events()} == {"probe.measured", "database.kept", "job.finished"}
    assert any("only read: litestream" in step["reason"] for step in tree.plan())


def test_what_is_redundant_is_said_and_dropped_only_when_asked(tree):
    """An index that is the beginning of another is said; with drop_undeclared those go that are neither declared nor
    unique, of the tables that the declarations name, with the SQL that makes them again."""
    path = database(tree.logs / "a.db")
    ask(path, "CREATE TABLE other (a)")
    for sql in ("short ON trades (price)", "own ON trades (lower(note))", "elsewhere ON other (a)"):
        ask(path, f"CREATE INDEX {sql}")
    ask(path, "CREATE UNIQUE INDEX rule ON trades (note, id)")
    found = did(tree, 'indexes = ["trades(price, note)"]\n')
    assert [(event["index"], event["by"]) for event in found.events("index.redundant")] == [
        ("short", "maintd_trades_price_note")
    ]
    assert len(indexes(path)) == 5
    asked = 'indexes = ["trades(price, note)"]\n'
    assert not any("dropped" in step.get("detail", "") for step in tree.plan())
    tree.write_config(f"{JOB}{asked}drop_undeclared = true\n")
    (step,) = [one for one in tree.plan() if one.get("verb") == "index"]
    assert "every other index of trades that is not unique is dropped" in step["detail"]
    gone = did(tree, f"{asked}drop_undeclared = true\n").events("index.dropped")
    assert {event["index"]: event["sql"] for event in gone}["own"] == "CREATE INDEX own ON trades (lower(note))"
    assert indexes(path) == ["elsewhere", "maintd_trades_price_note", "rule"]


def test_checks_that_are_thorough_run_on_a_copy(tree):
    """integrity_check and foreign_key_check run on a copy, which goes; a key that points to nothing is a warning."""
    path = database(tree.logs / "a.db")
    ask(path, "CREATE TABLE child (of INTEGER REFERENCES trades (id))")
    ask(path, "INSERT INTO child VALUES (4711)")
    told = did(tree, "integrity_check = true\noptimize = false\nquick_check = false\n")
    assert "in a copy" in told.event("database.kept")["what"]
    assert told.event("references.broken")["violations"] == 1
    assert list((tree.folder / "state/stores/databases").iterdir()) == []
    path.unlink()
    odd = database(tree.logs / "odd.db")
    with contextlib.closing(sqlite3.connect(odd)) as made:
        made.create_collation("mine", lambda a, b: (a > b) - (a < b))
        made.execute("CREATE TABLE m (x TEXT COLLATE mine)")
        made.execute("CREATE INDEX im ON m (x)")
    failed = did(tree, "integrity_check = true\noptimize = false\nquick_check = false\n", code=1)
    assert "SQLite says of odd.db: no such collation" in failed.event("database.failed")["error_msg"]


def test_modes_are_told_and_changed_only_when_asked(tree):
    """A plan tells journal mode, page size and auto_vacuum; what is asked for is set, once, and the rows stay."""
    path = database(tree.logs / "a.db", 3000, mode="DELETE")
    tree.write_config(JOB)
    assert any("a rollback journal, pages of 4.0 KiB, auto_vacuum none" in step["reason"] for step in tree.plan())
    asked = 'journal_mode = "wal"\npage_size = 8192\nauto_vacuum = "incremental"\n'
    assert any("page_size = 8192" in event["what"] for event in did(tree, asked).events("database.kept"))
    names = ("journal_mode", "page_size", "auto_vacuum")
    assert [ask(path, f"PRAGMA {name}") for name in names] == [[("wal",)], [(8192,)], [(2,)]]
    assert ask(path, "SELECT count(*) FROM trades") == [(3000,)]
    assert not any("page_size" in event["what"] for event in did(tree, asked).events("database.kept"))
    ask(path, "DELETE FROM trades WHERE id > 10")
    ask(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    told = did(tree, "vacuum_over = 0.3\n")
    assert any(event.get("changed_bytes", 0) > 0 for event in told.events("database.kept"))
    assert ask(path, "PRAGMA freelist_count") == [(0,)]


def test_a_page_size_that_is_broken_off_leaves_the_journal_mode(tree):
    """The process that is at the VACUUM is killed: the database is in WAL mode, as it was, and its rows are there. If
    all of maintd is killed, the next run gives WAL mode back, and says so."""
    path = database(tree.logs / "a.db", 400_000)
    ask(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    options = 'window = "00:00-23:59"\nmax_pause = "60s"\npage_size = 8192\noptimize = false\nquick_check = false\n'
    tree.write_config(JOB + options)
    line = [MAINTD, "-c", str(tree.config), "do", "--all", "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, env=environment()) as doing:
        os.kill(until(lambda: sorting_in_files(doing.pid), "VACUUM has begun", 20), signal.SIGKILL)
        told = doing.stdout.read().decode()
    assert "database.failed" in told, told
    assert [ask(path, f"PRAGMA {name}") for name in ("journal_mode", "page_size")] == [[("wal",)], [(4096,)]]
    assert ask(path, "SELECT count(*) FROM trades") == [(400_000,)]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, env=environment()) as doing:
        child = until(lambda: sorting_in_files(doing.pid), "VACUUM has begun", 20)
        doing.kill()
    until(lambda: not Path(f"/proc/{child}/fd").exists() or not os.listdir(f"/proc/{child}/fd"), "its child is gone")
    assert ask(path, "PRAGMA journal_mode") == [("delete",)]
    kept = did(tree, "optimize = false\nquick_check = false\n").event("database.kept")
    assert kept["what"] == "it has journal_mode = wal now; a run that was killed had left it without WAL mode"
    assert ask(path, "PRAGMA journal_mode") == [("wal",)]
    ask(path, "PRAGMA journal_mode = DELETE")
    assert not did(tree, "optimize = false\nquick_check = false\n").events("database.kept")


def sorting_in_files(parent: int) -> int | None:
    """The child of a process that has a temporary file of SQLite's open."""
    for listed in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in listed.read_text().split():
            for descriptor in Path(f"/proc/{child}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if "/stores/databases/" in (place := os.readlink(descriptor)) and "(deleted)" in place:
                        return int(child)
    return None


def test_vacuum_needs_a_window(tree):
    """What holds everybody up is not configured for any time of the day."""
    tree.write_config(JOB + "vacuum_over = 0.3\n")
    assert "give the job a window" in tree.run("check").stderr


def test_advise_proposes_what_helps_and_measures_it(tree):
    """For the probes of the config, queries that are given and a log of queries, an index is proposed only if the query
    uses it and gains; the database is not changed, and the copy goes."""
    path = database(tree.logs / "a.db", 20_000)
    tree.write_config(JOB + "probes = [\"SELECT count(*) FROM trades where note = 'note 17'\"]\n")
    queries = tree.folder / "queries.sql"
    queries.write_text(
        "SELECT id FROM trades WHERE price = 3 AND note = 'x';\nBEGIN;\n"
        "SELECT id FROM trades WHERE price = 4.5 AND note = '';\n"
    )
    before = path.read_bytes()
    given = ("--query", "SELECT * FROM trades WHERE id = 4", "--query", "DELETE FROM trades", "--log", str(queries))
    given += ("--query", "SELECT * FROM trades WHERE id = ?")
    done = tree.run("sqlite", "advise", str(path), *given, "--json")
    assert done.returncode == 0, done.stderr
    probe, by_id, writes, open_ended, logged = (json.loads(line) for line in done.stdout.splitlines())
    assert probe["index"] == "trades(note)"
    assert probe["after_ms"] < probe["before_ms"]
    assert "SCAN" in probe["plan_before"]
    assert "SEARCH" in probe["plan_after"]
    assert "index" not in by_id
    assert "may only read" in writes["trouble"]
    assert open_ended["trouble"].startswith("it has parameters")
    assert "write values in their place" in open_ended["trouble"]
    assert (logged["query"][-3:], logged["index"][:7]) == ("'x'", "trades(")
    assert path.read_bytes() == before
    assert indexes(path) == []
    assert list((tree.folder / "state/stores/advice").iterdir()) == []
    assert "indexes = [" in tree.run("sqlite", "advise", str(path)).stdout


def test_advise_looks_at_what_takes_too_long_and_clears_up(tree):
    """A query that is ended gets its index, and what a killed one has left goes."""
    path = database(tree.logs / "a.db", 50_000)
    tree.write_config(JOB)
    dead = tree.folder / "state/stores/advice/advice-4194305.maintd-tmp"
    dead.mkdir(parents=True)
    dead.parent.chmod(0o700)
    (dead / "copy").write_bytes(b"left")
    slow = "SELECT sum((SELECT count(*) FROM trades AS b where b.note = a.note)) FROM trades AS a"
    done = tree.run("sqlite", "advise", str(path), "--query", slow, "--json")
    told = json.loads(done.stdout)
    assert told["before_ms"] is None
    assert told["index"] == "trades(note)"
    assert list(dead.parent.iterdir()) == []
    assert tree.names() == ["a.db"]


def test_advise_reads_logs_as_they_are(tree):
    """A query behind a time counts, one with values stands for those with parameters, what else is logged is passed
    over and counted; a log without any query is said to be one."""
    path = database(tree.logs / "a.db", 20_000)
    tree.write_config(JOB)
    log = tree.folder / "queries.log"
    log.write_text(
        "begun\nselect id from trades where note = ?\nSELECT id FROM trades  WHERE note = :note\n\n"
        "2026-01-01 00:00:00 SELECT id FROM trades WHERE note = 'note 5';\n"
        "2026-01-01 DELETE FROM trades WHERE id IN (SELECT 1)\n12 with a AS (SELECT 4711) SELECT * FROM a\n"
    )
    done = tree.run("sqlite", "advise", str(path), "--log", str(log), "--json")
    assert "queries.log: 2 lines without a query passed over" in done.stderr
    by_note, other = map(json.loads, done.stdout.splitlines())
    assert (by_note["query"], by_note["index"]) == ("SELECT id FROM trades WHERE note = 'note 5'", "trades(note)")
    assert other["query"] == "with a AS (SELECT 4711) SELECT * FROM a"
    log.write_text("begun\n")
    done = tree.run("sqlite", "advise", str(path), "--log", str(log))
    assert "queries.log has no query" in done.stderr
    assert done.returncode == 1


def test_advise_looks_past_tables_of_an_unknown_module(tree):
    """A virtual table whose module is not here, as of an extension that its service loads, hides no index of others."""
    path = database(tree.logs / "a.db", 20_000)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute("PRAGMA writable_schema = 1")
        made.execute("INSERT INTO sqlite_schema VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING vec0(e)')")
    tree.write_config(JOB)
    query = "SELECT count(*) FROM trades WHERE note = 'note 5'"
    done = tree.run("sqlite", "advise", str(path), "--query", query, "--json")
    assert json.loads(done.stdout)["index"] == "trades(note)", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own takes root: sudo make test")
def test_advise_begins_only_with_room_for_its_copy(tree):
    """Where state_dir has no room for a copy with an index, that is said, and the disk is not filled."""
    path = database(tree.logs / "a.db", 50_000)
    tree.write_config(JOB)
    small = tree.folder / "state/stores/advice"
    small.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", small], check=True)
    try:
        done = tree.run("sqlite", "advise", str(path), "--query", "SELECT * FROM trades WHERE price = 3")
        assert done.returncode == 1
        assert "which is not free in" in done.stderr
    finally:
        subprocess.run(["umount", small], check=True)


def test_another_users_database_is_looked_after_as_that_user(tree):
    """Copies that are checked or tried are its owner's too, so is what SQLite sorts in files; and nothing of root's is
    left beside the database."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root: sudo make test")
    tree.folder.chmod(0o755)
    path = database(tree.logs / "a.db", 100_000)
    ask(path, "DELETE FROM trades WHERE id % 10 = 0")
    ask(path, "UPDATE trades SET note = note || hex(randomblob(20))")
    for one in (tree.logs, path):
        os.chown(one, NOBODY, NOBODY)
    sorts = "SELECT count(*) FROM (SELECT note FROM trades ORDER BY note DESC LIMIT -1)"
    options = 'integrity_check = true\nindexes = ["trades(note)"]\njournal_mode = "delete"\nvacuum_over = 0.01\n'
    found = did(tree, f'{options}max_pause = "60s"\nprobes = ["{sorts}"]\n')
    assert "before_ms" in found.event("probe.measured")
    assert ask(path, "PRAGMA freelist_count") == [(0,)]
    query = "SELECT id FROM trades WHERE price = 3"
    done = tree.run("sqlite", "advise", str(path), "--query", query, "--json")
    sorted_ones, found_by_price = map(json.loads, done.stdout.splitlines())
    assert sorted_ones["before_ms"]
    assert found_by_price["index"] == "trades(price)"
    assert {one.stat().st_uid for one in tree.logs.iterdir()} == {NOBODY}
    assert indexes(path) == ["maintd_trades_note"]


def test_a_missing_extra_is_said_by_check(tree):
    """`maintd check` names the extra that a job takes and that is not installed."""
    place = 'destination = "s3://bucket/p"\nset = "app"\n'
    tree.write_config(
        f'[redis.cache]\ncron = "@daily"\n[postgres.shop]\ncron = "@daily"\nconninfo = "dbname=shop"\n'
        f'[drill.app]\ncron = "@daily"\n{place}'
    )
    done = tree.run("check")
    for extra in ("redis", "postgres", "s3"):
        assert f"maintd[{extra}]" in done.stdout + done.stderr
