"""The locks that a service holds on its database survive whatever maintd does: looked at all the time meanwhile.

Beside it a service that opens and closes its own database loses them, to show that the look can fail.
"""

import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.test_backup import database
from tests.tree import Tree

from .table import Row

NAME = "locks"
MODES = ("WAL", "DELETE", "PERSIST")
PROBES = 1000
JOBS = """
[backup.app]
cron = "@daily"
destination = "HERE/kept"
databases = ["LOGS/*.db"]
keep = 2

[sqlite.all]
cron = "@daily"
paths = ["LOGS/*.db"]
integrity_check = true
optimize = false
probes = ["SELECT count(*) FROM trades"]

[check.sqlite.main]
path = "LOGS/a.db"
"""
HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
database.execute("ROLLBACK")
"""


@dataclass
class Watch:
    """How often somebody looked, and how often the lock was not held."""

    probes: int = 0
    stolen: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def look(self, path: Path) -> None:
        while not self.ended.is_set():
            self.probes += 1
            self.stolen += not is_locked(path)
            time.sleep(0.002)


def is_locked(path: Path) -> bool:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        other.execute("ROLLBACK")
        return False


NAIVE = HOLD.replace('print("held"', 'open(sys.argv[1]).close(); print("held"')


def run(share: float) -> Row:
    watches = {mode: tell(mode, round(PROBES * share)) for mode in MODES}
    return Row(
        "the lock of a service, looked at while maintd plans, backs up, checks, looks after and would restore",
        f"{sum(watch.probes for watch in watches.values()):,} looks",
        not any(watch.stolen for watch in watches.values()) and naively_lost(),
        ", ".join(f"{mode}: {watch.stolen} of {watch.probes:,} found it gone" for mode, watch in watches.items()),
    )


def naively_lost() -> bool:
    """Whether a process that closes its own database's file is seen to have lost its lock."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        path = database(Path(folder, "a.db"), mode="DELETE")
        line = [sys.executable, "-c", NAIVE, path]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as held:
            assert held.stdout is not None
            held.stdout.readline()
            lost = not is_locked(path)
            held.communicate(b"")
    return lost


def tell(mode: str, probes: int) -> Watch:
    """Operations of maintd's, over and over, until so many looks were taken."""
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve(), JOBS)
        path = database(tree.logs / "a.db", 3000, mode)
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as held:
            assert held.stdout is not None
            assert held.stdout.readline() == b"held\n"
            looking = threading.Thread(target=watch.look, args=[path])
            looking.start()
            try:
                while watch.probes < probes:
                    for line in (["plan"], ["do", "--all"], ["check"], ["restore", "app", "--in-place"]):
                        tree.run(*line)
                    tree.run("sqlite", "advise", str(path), "--query", "SELECT * FROM trades WHERE price = 3")
            finally:
                watch.ended.set()
                looking.join()
                held.communicate(b"")
    return watch
