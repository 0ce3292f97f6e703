"""Backups against sqlite3's .backup, cp -r with tar -czf, and restic: times and sizes as ratios, in one run.

python bench/backup.py [--database MIB] [--files MIB] [--many COUNT]
"""

import argparse
import contextlib
import os
import random
import shutil  # noqa: TID251 - clears what the script has made
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.conftest import environment, until
from tests.tree import MAINTD, Tree, files

JOB = '[backup.app]\ncron = "@daily"\ndestination = "HERE/kept"\ndatabases = ["LOGS/*.db"]\nfiles = ["LOGS/csv"]\n'
PAIRS = 3
RUNS = 15
POLITE = ("nice", "-n", "19", "ionice", "-c", "3")
"""As maintd's children run in the background."""
WRITER = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
while True:
    begun = time.monotonic()
    database.execute("UPDATE t SET x = randomblob(400) WHERE id = abs(random()) % 1000")
    time.sleep(max(0, 0.01 - (time.monotonic() - begun)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", type=int, default=1024, help="MiB of the one large database")
    parser.add_argument("--files", type=int, default=350, help="MiB of CSV beside eleven databases")
    parser.add_argument("--many", type=int, default=5000, help="small files, of which many snapshots are taken")
    asked = parser.parse_args()
    with place() as tree:
        one_database(tree, asked.database)
    with place() as tree:
        a_set(tree, asked.files)
    with place() as tree:
        many_files(tree, asked.many)


@contextmanager
def place() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Tree(Path(folder).resolve(), JOB)


def one_database(tree: Tree, mib: int) -> None:
    """The copy alone, as `database.copied` tells it, and the whole run: check, compression, read back."""
    tree.write_config(JOB.partition("files = ")[0])
    path = tree.logs / "large.db"
    fill(path, mib << 20)
    print(f"one database of {path.stat().st_size >> 20} MiB, WAL")
    target = tree.folder / "theirs.db"
    pairs = [_pair(tree, path, target) for _ in range(PAIRS)]
    theirs, copied, whole = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = [statistics.median(pair[number] / pair[0] for pair in pairs) for number in (1, 2)]
    print(f"  sqlite3 .backup, with maintd's priority {theirs:7.2f} s   (medians of {PAIRS} pairs)")
    print(f"  maintd, the copy                        {copied:7.2f} s   {ratios[0]:.2f} times")
    print(f"  maintd, checked, packed, read back      {whole:7.2f} s   {ratios[1]:.2f} times")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path])
    try:
        did = tree.do()
        copied = did.event("database.copied")["copy_ms"] / 1000
        limit = max(10 * theirs, 10)
        try:
            subprocess.run(["sqlite3", path, f".backup {target}"], check=True, timeout=limit)
            said = "finishes"
        except subprocess.TimeoutExpired:
            said = f"has not finished after {limit:.0f} s"
        print(f"  beside 100 transactions a second: maintd's copy takes {copied:.2f} s; sqlite3's {said}")
    finally:
        writer.kill()
        writer.wait()


def _pair(tree: Tree, path: Path, target: Path) -> tuple[float, float, float]:
    """Seconds of sqlite3's copy, of maintd's, and of maintd's whole run."""
    theirs = timed(lambda: subprocess.run([*POLITE, "sqlite3", path, f".backup {target}"], check=True))
    target.unlink()
    forget(tree)
    os.sync()
    begun = time.monotonic()
    did = tree.do()
    whole = time.monotonic() - begun
    assert did.code == 0, did
    return theirs, did.event("database.copied")["copy_ms"] / 1000, whole


def a_set(tree: Tree, mib: int) -> None:
    """Eleven databases and a price history, against what a backup script does."""
    for number in range(11):
        fill(tree.logs / f"{number}.db", 24 << 10 if number < 4 else number * 400 << 10)
    (tree.logs / "csv").mkdir()
    chance, day = random.Random(1), 0
    while sum(path.stat().st_size for path in (tree.logs / "csv").iterdir()) < mib << 20:
        lines = (
            f"2026-01-01T{n % 24:02}:00:00,AAPL,{chance.uniform(90, 110):.4f},{chance.randrange(10**6)}\n"
            for n in range(40_000)
        )
        (tree.logs / f"csv/{day}.csv").write_text("".join(lines))
        day += 1
    size = sum(path.stat().st_size for path in files(tree.logs))
    print(f"eleven databases and {day} CSV files, {size >> 20} MiB")
    script = tree.folder / "script"

    def theirs() -> None:
        shutil.rmtree(script, ignore_errors=True)
        subprocess.run(["cp", "-r", tree.logs, script], check=True)
        subprocess.run(["tar", "-czf", tree.folder / "all.tar.gz", "-C", tree.folder, "script"], check=True)

    slow = timed(theirs)
    packed = (tree.folder / "all.tar.gz").stat().st_size
    first = timed(lambda: run(tree))
    ours = sum(path.stat().st_size for path in files(tree.folder / "kept"))
    theirs_first = restic(tree, "init") and timed(lambda: restic(tree, "backup", "-q", str(tree.logs)))
    (tree.logs / "csv/0.csv").write_text("changed\n")
    theirs_second = timed(lambda: restic(tree, "backup", "-q", str(tree.logs)))
    second = timed(lambda: run(tree))
    print(f"  cp -r and tar -czf                  {slow:7.2f} s   {packed >> 20} MiB")
    ratio = f"{slow / first:.1f} times as fast, {ours / packed:.2f} of the size"
    print(f"  maintd, first run                   {first:7.2f} s   {ours >> 20} MiB   {ratio}")
    print(f"  maintd, second run, one file new    {second:7.2f} s   {slow / second:.1f} times as fast")
    size = sum(path.stat().st_size for path in files(tree.folder / "repository")) >> 20
    print(
        f"  restic, first run, databases as cp  {theirs_first:7.2f} s   {size} MiB   maintd {first / theirs_first:.2f}"
    )
    print(
        f"  restic, second run                  {theirs_second:7.2f} s            maintd {second / theirs_second:.2f}"
    )
    resident(tree)


def many_files(tree: Tree, count: int) -> None:
    """Small files alone, of which snapshot after snapshot is taken."""
    (tree.logs / "csv").mkdir()
    for number in range(count):
        (tree.logs / f"csv/prices-{number:06}-of-a-symbol.csv").write_text(f"{number}\n")
    print(f"{count} small files, {RUNS} snapshots")
    resident(tree, RUNS)


def restic(tree: Tree, *arguments: str) -> bool:
    """restic with its default settings, on a repository beside."""
    env = environment(RESTIC_PASSWORD="x", RESTIC_CACHE_DIR=f"{tree.folder}/cache")
    line = ["restic", "-r", tree.folder / "repository", *arguments]
    subprocess.run(line, check=True, env=env, stdout=subprocess.DEVNULL)
    return True


def resident(tree: Tree, runs: int = 1) -> None:
    """The RSS of a daemon, children apart, while it takes the same snapshot anew."""
    forget(tree)
    daemon = subprocess.Popen([MAINTD, "-c", tree.config, "run"], stdout=subprocess.DEVNULL, env=environment())
    try:
        until(lambda: tree.run("status").returncode in (0, 3), "the daemon answers", 30)
        process, peak = psutil.Process(daemon.pid), 0
        for _ in range(runs):
            doing = subprocess.Popen([MAINTD, "-c", tree.config, "do", "--all"], stdout=subprocess.DEVNULL)
            while doing.poll() is None:
                peak = max(peak, process.memory_info().rss)
                time.sleep(0.05)
        print(f"  the daemon during that, children apart: {peak / 1e6:.1f} MB RSS")
    finally:
        daemon.terminate()
        daemon.wait()


def forget(tree: Tree) -> None:
    """Removes all snapshots, and the note that there were some."""
    for path in ("kept", "state/stores"):
        shutil.rmtree(tree.folder / path, ignore_errors=True)


def run(tree: Tree) -> None:
    subprocess.run([MAINTD, "-c", tree.config, "do", "--all", "--json"], check=True, stdout=subprocess.DEVNULL)


def fill(path: Path, size: int) -> None:
    """A database of about that size, of rows that compress a little."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT, x BLOB)")
        rows = max(1, size // 900)
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO t VALUES (?, ?, ?)", ((n, "2026-01-01 " * 40, os.urandom(400)) for n in range(rows))
        )
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def timed(work: Callable[[], object]) -> float:
    os.sync()
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
