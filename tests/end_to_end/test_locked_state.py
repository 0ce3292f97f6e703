"""Somebody holds state.sqlite, a backup of it or a curious person: nothing waits for that, and nothing is forgotten."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.conftest import until

COUNT = 40
CHECKS = "".join(
    f'[check.file.c{number}]\npaths = ["LOGS/x"]\nabsent = true\nevery = "1s"\ntimeout = "900ms"\n'
    "fail_after = 1\nrecover_after = 1\n"
    for number in range(COUNT)
)


@contextmanager
def locked(state: Path) -> Iterator[None]:
    with closing(sqlite3.connect(state, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield
        holder.execute("ROLLBACK")


def known(state: Path, health: str) -> int:
    with closing(sqlite3.connect(state)) as database:
        (count,) = database.execute("SELECT count(*) FROM standing WHERE said = ?", [health]).fetchone()
        return int(count)


def test_a_lock_holds_up_neither_a_stop_nor_what_is_remembered(daemon):
    """While another process holds state.sqlite, 40 checks go down and are told, and SIGTERM ends maintd in seconds.

    What could not be written is, as soon as the lock is gone, so that the next maintd knows it also after kill -9.
    """
    one = daemon(CHECKS)
    state = one.tree.folder / "state/state.sqlite"
    one.start()
    until(lambda: {check["health"] for check in one.status()["checks"]} == {"up"}, "all are up", 30)
    with locked(state):
        one.tree.log("x")
        one.event("check.failed")
        assert one.stop() == 0
    one.start()
    one.event("check.failed", count=COUNT + 1)
    until(lambda: known(state, "down") == COUNT, "all is known", 30)
    recovered = len(one.events("check.recovered"))
    with locked(state):
        os.unlink(one.tree.logs / "x")
        one.event("check.recovered", count=recovered + COUNT)
        assert one.events("state.failed")
    until(lambda: known(state, "up") == COUNT, "it is made up for", 30)
    assert one.stop() == 0
