"""A program that writes to a database as fast as it can: `python scribbler.py DB MODE LOG`, until SIGTERM.

Each transaction moves an amount between two accounts, whose sum stays, and counts up a sequence number. LOG gets the
last number that is committed, as eight bytes; and at the end, on stdout, the longest wait for a commit in seconds.
"""

import os
import random
import signal
import sqlite3
import sys
import time
from types import FrameType

ACCOUNTS, SUM = 4000, 4_000_000


def main() -> None:
    path, mode, log = sys.argv[1:]
    note = os.open(log, os.O_RDWR | os.O_CREAT, 0o600)
    database = sqlite3.connect(path, isolation_level=None, timeout=5)
    database.execute(f"PRAGMA journal_mode = {mode}")
    database.execute("PRAGMA synchronous = OFF")
    if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        database.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER, filling BLOB)")
        database.execute("CREATE TABLE sequence (number INTEGER)")
        database.execute("BEGIN")
        rows = ((n, SUM // ACCOUNTS) for n in range(ACCOUNTS))
        database.executemany("INSERT INTO account VALUES (?, ?, randomblob(2000))", rows)
        database.execute("INSERT INTO sequence VALUES (0)")
        database.execute("COMMIT")
    number, worst, going = 0, 0.0, True

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    while going:
        begun = time.monotonic()
        number += 1
        giver, taker = random.sample(range(ACCOUNTS), 2)
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE account SET amount = amount - 1, filling = randomblob(2000) WHERE id = ?", (giver,))
        database.execute("UPDATE account SET amount = amount + 1, filling = randomblob(2000) WHERE id = ?", (taker,))
        database.execute("UPDATE sequence SET number = ?", (number,))
        database.execute("COMMIT")
        os.pwrite(note, number.to_bytes(8, "little"), 0)
        worst = max(worst, time.monotonic() - begun)
    print(worst, flush=True)


if __name__ == "__main__":
    main()
