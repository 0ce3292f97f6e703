"""Backups beside a writer at full speed, in three journal modes: each copy is sound and has what was committed before.

`cp` beside it shows that the proof can fail.
"""

import contextlib
import shutil  # noqa: TID251 - the `cp` that the proof is compared with
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backports import zstd

from tests.conftest import until
from tests.tree import Tree

from . import scribbler
from .table import Row

NAME = "beside writers"
MODES = ("WAL", "DELETE", "PERSIST")
BACKUPS = 210
COPIES = 4
"""By cp, for each backup."""
JOB = '[backup.app]\ncron = "@daily"\ndestination = "HERE/kept"\ndatabases = ["LOGS/*.db"]\nkeep = 1\n'


@dataclass
class Story:
    """What came of the backups in one journal mode; `wait` is the writer's longest in seconds, `p99` the percentile."""

    mode: str
    backups: int = 0
    cp_bad: int = 0
    cp: int = 0
    wait: float = 0.0
    p99: float = 0.0
    transactions: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.mode}: {self.backups} backups beside {self.transactions:,} transactions, the longest took "
            f"{self.wait:.2f} s; of {self.cp} copies by cp {self.cp_bad} were bad"
        )


def run(share: float) -> Row:
    stories = [tell(mode, max(2, round(BACKUPS * share / len(MODES)))) for mode in MODES]
    for story in stories:
        for fault in story.faults:
            print(f"{NAME}: {story.mode}: {fault}", file=sys.stderr)
    return Row(
        "databases copied beside a writer at full speed",
        f"{sum(story.backups for story in stories):,} backups",
        not any(story.faults for story in stories) and any(story.cp_bad for story in stories),
        "; ".join(map(str, stories)),
    )


def tell(mode: str, backups: int) -> Story:
    story = Story(mode)
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve(), JOB)
        path, log = tree.logs / "a.db", tree.folder / "committed"
        with writing(path, mode, log, story):
            for _ in range(backups):
                for _ in range(COPIES):
                    _copy_naively(path, tree.folder / "cp", story)
                before = committed(log)
                did = tree.do()
                story.backups += 1
                if did.code != 0:
                    story.faults.append(f"a backup failed: {did}")
                    continue
                kept = max((tree.folder / "kept").iterdir())
                fault = wrong_with(unpacked(kept, tree.folder / "copy"), before)
                if fault:
                    story.faults.append(fault)
        story.transactions = committed(log)
    return story


@contextmanager
def writing(path: Path, mode: str, log: Path, story: Story, rate: float | None = None) -> Iterator[None]:
    """A writer is at work meanwhile, of so many transactions a second, or as fast as it can."""
    process = subprocess.Popen(
        [sys.executable, scribbler.__file__, path, mode, log, *([str(rate)] if rate else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    before = committed(log) if log.exists() else 0
    try:
        until(lambda: log.exists() and committed(log) > before + 100, "the writer is at work", 30)
        yield
    finally:
        process.terminate()
        out, err = process.communicate(timeout=30)
        if process.returncode:
            story.faults.append(f"the writer failed: {err.decode()}")
        else:
            story.wait, story.p99 = map(float, out.split())


def committed(log: Path) -> int:
    return int.from_bytes(log.read_bytes()[:8], "little")


def unpacked(snapshot: Path, target: Path) -> Path:
    """The database out of the newest pack of a snapshot."""
    pack = max(snapshot.glob("*.tar.zst"))
    with zstd.open(pack) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for member in archive:
            source = archive.extractfile(member)
            assert source is not None
            target.write_bytes(source.read())
    return target


def wrong_with(copy: Path, before: int) -> str:
    """What is wrong with a copy, which must have the transaction `before`, or nothing."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as database:
            check = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
            total = database.execute("SELECT sum(amount) FROM account").fetchone()[0]
            number = database.execute("SELECT number FROM sequence").fetchone()[0]
    except sqlite3.DatabaseError as error:
        return f"it cannot be read: {error}"
    if check != "ok":
        return f"integrity_check: {check}"
    if total != scribbler.SUM:
        return f"the sum is {total}"
    return f"transaction {before} was committed before, the copy has {number}" if number < before else ""


def _copy_naively(path: Path, target: Path, story: Story) -> None:
    """What a script would do: the database, and its WAL, by cp."""
    for left in target.parent.glob(f"{target.name}*"):
        left.unlink()
    before = committed(target.parent / "committed")
    for suffix in ("", "-wal", "-journal"):
        source = Path(f"{path}{suffix}")
        if source.exists():
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(source, f"{target}{suffix}")
    story.cp += 1
    story.cp_bad += bool(_wrong_with_live(target, before))


def _wrong_with_live(copy: Path, before: int) -> str:
    try:
        with contextlib.closing(sqlite3.connect(copy)) as database:
            check = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
            total = database.execute("SELECT sum(amount) FROM account").fetchone()[0]
            number = database.execute("SELECT number FROM sequence").fetchone()[0]
    except (sqlite3.DatabaseError, TypeError) as error:
        return f"it cannot be read: {error}"
    return "" if check == "ok" and total == scribbler.SUM and number >= before else "bad"
