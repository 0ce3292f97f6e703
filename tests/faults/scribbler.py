"""A program that writes to a database: `python scribbler.py DB MODE LOG [RATE]`, until SIGTERM, as fast as it can.

Each transaction moves an amount between two accounts, whose sum stays, and counts up a sequence number. LOG gets the
last number that is committed, as eight bytes; and at the end, on stdout, the longest wait for a commit in seconds, and
the 99th percentile. With a RATE there are so many transactions a second. SQLITE_BUSY after 5 s ends it.
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
    path, mode, log, *given = sys.argv[1:]
    pause = 1 / float(given[0]) if given else 0.0
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
    number = database.execute("SELECT number FROM sequence").fetchone()[0]
    waits, going = list[float](), True

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
        waits.append(time.monotonic() - begun)
        time.sleep(max(0.0, pause - waits[-1]))
    print(max(waits), sorted(waits)[int(0.99 * len(waits))], flush=True)


if __name__ == "__main__":
    main()
