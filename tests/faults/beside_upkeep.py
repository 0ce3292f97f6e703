"""Every step of the kind `sqlite` beside a writer of 300 transactions a second: none of them fails, and none is lost.

How long the writer waits is told, with and without upkeep, and not judged: a machine that others use has its own waits.
"""

import contextlib
import shutil  # noqa: TID251 - copies a database that nobody has open
import sqlite3
import sys
import tempfile
from pathlib import Path

from tests.conftest import until
from tests.tree import Tree

from .beside_writers import Story, committed, writing, wrong_with
from .table import Row

NAME = "beside upkeep"
MODES = ("WAL", "DELETE")
ROUNDS, RATE = 40, 300.0
ALL = """
[sqlite.all]
cron = "@daily"
window = "00:00-23:59"
paths = ["LOGS/*.db"]
indexes = ["account(amount, id)", "account(id) where amount > 1000"]
probes = ["SELECT count(*) FROM account where amount > 990"]
integrity_check = true
checkpoint_over = "4K"
vacuum_over = 0.001
"""
READING = """
[sqlite.all]
cron = "@daily"
paths = ["LOGS/*.db"]
probes = ["SELECT count(*) FROM account where amount > 990"]
optimize = false
integrity_check = true
"""
"""The steps that only read."""


def run(share: float) -> Row:
    stories = {mode: tell(mode, max(2, round(ROUNDS * share))) for mode in MODES}
    for mode, (_, story) in stories.items():
        for fault in story.faults:
            print(f"{NAME}: {mode}: {fault}", file=sys.stderr)
    return Row(
        "databases looked after beside a writer of 300 transactions a second",
        f"{sum(story.backups for _, story in stories.values()):,} runs",
        not any(story.faults for _, story in stories.values()),
        "; ".join(_told(mode, *pair) for mode, pair in stories.items()),
    )


def _told(mode: str, alone: Story, beside: Story) -> str:
    return (
        f"{mode}: {beside.transactions:,} transactions, p99 {1000 * beside.p99:.1f} ms, the longest "
        f"{1000 * beside.wait:.0f} ms; alone p99 {1000 * alone.p99:.1f} ms, the longest {1000 * alone.wait:.0f} ms"
    )


def tell(mode: str, rounds: int, job: str = ALL, *, apart: bool = False) -> tuple[Story, Story]:
    """The writer alone for a while, and beside so many runs of a job; `apart`, of the job on a copy of its database."""
    alone, beside = Story(mode), Story(mode)
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve(), job.replace("*.db", "b.db" if apart else "a.db"))
        path, log = tree.logs / "a.db", tree.folder / "committed"
        with writing(path, mode, log, alone, RATE):
            end = committed(log) + 3 * RATE
            until(lambda: committed(log) > end, "the writer is alone for a while", 60)
        if apart:
            shutil.copyfile(path, tree.logs / "b.db")
        with writing(path, mode, log, beside, RATE):
            for _ in range(rounds):
                did = tree.do()
                beside.backups += 1
                beside.faults += [event["msg"] for event in did.events("database.failed")]
                _drop_indexes(tree.logs / ("b.db" if apart else "a.db"))
        beside.transactions = committed(log)
        fault = wrong_with(path, 0)  # its writer has closed it, and so is whole without its WAL
        beside.faults += [fault] if fault else []
    return alone, beside


def _drop_indexes(path: Path) -> None:
    """So that the next run makes them again, and has free pages to give back."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'index'").fetchall():
            database.execute(f"DROP INDEX {name}")
