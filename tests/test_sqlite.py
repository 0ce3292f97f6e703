"""Live databases looked after: indexes made as declared, probes measured, writers never held up for long."""

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .test_backup import database
from .tree import Did, Tree

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
    tree.write_config(JOB + options)
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
    ("declared", "said"), [("trades(nothing)", "nothing"), ("orders(id)", "no table orders"), ("gibberish", "no index")]
)
def test_an_index_on_what_is_not_there_is_an_error(tree, declared, said):
    """A table or column that does not exist is named together with the index, and nothing at all is made."""
    path = database(tree.logs / "a.db")
    failed = did(tree, f'indexes = ["trades(price)", "{declared}"]\n', code=5).event("database.failed")
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
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", "longer than 1 s"),
    ],
)
def test_a_probe_that_writes_or_never_ends_is_refused(tree, query, said):
    """A probe can only read, and has query_timeout."""
    path = database(tree.logs / "a.db")
    failed = did(tree, f'query_timeout = "1s"\nprobes = ["{query}"]\n', code=5).event("database.failed")
    assert said in failed["error_msg"]
    assert ask(path, "SELECT count(*) FROM trades") == [(100,)]


def test_what_would_hold_up_writers_too_long_is_refused(tree):
    """An index whose estimate is beyond max_pause is not begun; the estimate and the way out are told."""
    path = database(tree.logs / "a.db", 20_000)
    failed = did(tree, 'indexes = ["trades(note)"]\nmax_pause = "1ms"\noptimize = false\n', code=5).event(
        "database.failed"
    )
    assert "would hold up its writers for about" in failed["error_msg"]
    assert "window" in failed["advice"]
    assert indexes(path) == []


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


def test_damage_is_found_by_the_check(tree):
    """quick_check of a damaged database is a failure."""
    path = database(tree.logs / "a.db", 5000, mode="DELETE")
    with path.open("r+b") as file:
        file.seek(3 * 4096 + 100)
        file.write(b"\xff" * 3000)
    assert any(
        "restore" in event["advice"] for event in did(tree, "optimize = false\n", code=1).events("database.failed")
    )


def test_what_litestream_owns_is_left_alone(tree):
    """A database that litestream replicates is not touched: its write-ahead log is litestream's."""
    database(tree.logs / "a.db")
    (tree.logs / ".a.db-litestream").mkdir()
    (step,) = tree.plan()
    assert "litestream" in step["reason"]
