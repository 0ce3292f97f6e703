"""A database of more than 2 GiB: backed up, drilled, brought back."""

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from tests.test_backup import at
from tests.tree import Tree

from .table import Row, Skipped

NAME = "a large database"
MIB, LARGE = 1 << 20, 2200
JOBS = """
[backup.app]
cron = "@daily"
destination = "HERE/kept"
databases = ["LOGS/*.db"]

[drill.app]
cron = "@weekly"
destination = "HERE/kept"
set = "app"
"""


def run(share: float) -> Row:
    size = max(50, round(LARGE * share))
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve(), JOBS)
        info = os.statvfs(folder)
        if info.f_bavail * info.f_frsize < 5 * size * MIB:
            raise Skipped(f"it takes {5 * size >> 10} GiB in {folder}")
        path = tree.logs / "large.db"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made:
            made.execute("PRAGMA journal_mode = WAL; ")
            made.execute("PRAGMA synchronous = OFF")
            made.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
            block = os.urandom(MIB - 16)
            for number in range(size):
                made.execute("INSERT INTO t VALUES (?, ?)", (number, number.to_bytes(16, "little") + block))
        for line in (["do", "backup.app"], ["do", "drill.app"], ["restore", "app", "--to", f"{folder}/out"]):
            done = tree.run(*line)
            if done.returncode:
                return Row(NAME, f"{size} MiB", holds=False, detail=f"{line}: {done}")
        with contextlib.closing(sqlite3.connect(at(tree.folder / "out", path))) as back:
            rows = back.execute("SELECT count(*), sum(length(x)) FROM t").fetchall()
        stored = path.stat().st_size
    holds = rows == [(size, size * MIB)]
    return Row("a large database backed up, drilled, brought back", f"{stored / 2**30:.2f} GiB", holds)
