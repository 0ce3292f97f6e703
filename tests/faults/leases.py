"""Whether the kernel's word that nobody can write a file is right for every kind of holder, and what openers do to us.

Each round asks twice: while another process holds the file, and after it has let go; half of the rounds on tmpfs. Then
a process that holds leases is broken in upon, and a daemon rotates logs which others open all the time.
"""

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from maintd import holders
from tests.conftest import until
from tests.tree import MAINTD, Tree

from . import account
from .holding import DELETED, NOBODY, READING, WRITING
from .resident import resident
from .table import Row, Skipped

NAME = "leases"
ALONE = True
"""A look is measured in microseconds."""
ROUNDS = 1000
OPENERS = 10_000
SOON = 20.0
"""Microseconds that an answer may take, by the median."""
TMPFS = Path("/dev/shm")
HERE = Path(__file__).parent


def run(share: float) -> Row:
    if os.geteuid() != 0:
        raise Skipped("holders of another user need root: sudo .venv-dev/bin/python -m tests.faults leases")
    rounds = max(2, round(ROUNDS * share))
    wrong, times = verdicts(rounds)
    median = statistics.median(times)
    openers = max(20, round(OPENERS * share))
    broken, code = breaks(openers)
    if code != 0:
        wrong["a process that holds a lease, and somebody opens the file"] += 1
    storm = under_openers(openers)
    for kind, count in wrong.items():
        print(f"leases: {kind}: {count} wrong", file=sys.stderr)
    return Row(
        "lease against kinds of holder",
        f"{rounds:,} rounds of {len(WRITING) + len(READING)} kinds, twice {openers:,} openers",
        not wrong and broken == openers and storm.is_whole and (share < 1 or median <= SOON),
        f"{sum(wrong.values())} wrong verdicts of {len(times):,}, median {median:.1f} µs; "
        f"{broken:,} leases broken and survived; a daemon under {openers:,} openers: {storm}",
        storm.counts,
    )


# What is said of each kind


def verdicts(rounds: int) -> tuple[Counter[str], list[float]]:
    """How often each kind of holder was taken for another, and how long each answer took, in microseconds."""
    wrong: Counter[str] = Counter()
    times: list[float] = []
    for place in filter(Path.is_dir, (Path(tempfile.gettempdir()), TMPFS)):
        with tempfile.TemporaryDirectory(prefix="maintd-", dir=place) as folder:
            os.chmod(folder, 0o755)
            for kind in (*WRITING, *READING):
                for _ in _asked(kind, Path(folder), (rounds + 1) // 2, wrong, times):
                    pass
    return wrong, times


def _asked(kind: str, folder: Path, rounds: int, wrong: Counter[str], times: list[float]) -> Iterator[None]:
    """Asks about a file of each round's own, so that a round cannot profit from the one before."""
    path = folder / "held.log"
    with _holder(kind, path) as (tell, hear):
        for _ in range(rounds):
            _make(path)
            with _reading(path) as descriptor:
                os.write(tell, b"1")
                assert os.read(hear, 1) == b"h"
                if kind == DELETED:
                    path.unlink()
                wrong[f"{kind}, holding"] += _timed(descriptor, times) is not (kind in WRITING)
                os.write(tell, b"0")
                assert os.read(hear, 1) == b"d"
                wrong[f"{kind}, let go"] += _timed(descriptor, times)
            yield
    for name in (path, path.with_name("held.log.link")):
        name.unlink(missing_ok=True)
    for key in [key for key, count in wrong.items() if not count]:
        del wrong[key]


def _make(path: Path) -> None:
    link = path.with_name("held.log.link")
    for name in (path, link):
        name.unlink(missing_ok=True)
    path.write_bytes(b"line\n")
    path.chmod(0o644)
    os.chown(path, NOBODY, NOBODY)
    link.hardlink_to(path)


def _timed(descriptor: int, times: list[float]) -> bool:
    begun = time.perf_counter_ns()
    verdict = holders.may_be_written(descriptor)
    times.append((time.perf_counter_ns() - begun) / 1000)
    return verdict


@contextlib.contextmanager
def _holder(kind: str, path: Path) -> Iterator[tuple[int, int]]:
    """A process that holds the file when told to, as descriptors to tell it and to hear it."""
    process = subprocess.Popen(
        [sys.executable, "-IS", HERE / "holding.py", kind, path],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield process.stdin.fileno(), process.stdout.fileno()
    finally:
        process.communicate()


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# Whoever opens a file with a lease on it


LEASING = """
import os, sys
from maintd import holders
if sys.argv[2] == "survive":
    holders.ignore_lease_breaks()
descriptor = os.open(sys.argv[1], os.O_RDONLY)
while os.read(0, 1):
    with holders.unwritable(descriptor) as free:
        os.write(1, b"y" if free else b"n")
        os.read(0, 1)
    os.write(1, b"d")
"""


def breaks(openers: int, *, how: str = "survive") -> tuple[int, int]:
    """How many openers found a lease of maintd's and broke it, and how the process that held it ended."""
    broken = 0
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        path = Path(folder, "leased.log")
        path.touch()
        process = subprocess.Popen(
            [MAINTD.with_name("python"), "-c", LEASING, path, how],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        with process, contextlib.suppress(BrokenPipeError):
            for _ in range(openers):
                process.stdin.write(b"1")
                if process.stdout.read(1) != b"y":
                    break
                broken += _is_refused(path)
                process.stdin.write(b"0")
                process.stdout.read(1)
            process.stdin.close()
    return broken, process.returncode


def _is_refused(path: Path | str) -> bool:
    """Opens a file for writing without waiting; whether somebody's lease was in the way, which tells him (open(2))."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK))
    except BlockingIOError:
        return True
    return False


def under_openers(openers: int) -> account.Account:
    """What became of a service's lines while a daemon rotated its log and others opened all for writing."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve(), '[rotate.all]\npaths = ["LOGS/*.log"]\nmax_size = "64K"\nreopen = "none"\n')
        log = tree.log("app.log", b"")
        report = tree.folder / "report"
        report.mkdir()
        with resident(tree, tree.folder / "events") as daemon, _scribe(log, report) as scribe:
            count = opened = 0
            while opened < openers or count < max(3, openers // 1000):
                opened += _open_all(tree.logs)
                count = len(account.archives(log))
                assert daemon.process.poll() is None, "the daemon did not survive the openers"
            scribe.terminate()
            scribe.wait(10)
            until(lambda: all(path.suffix == ".zst" for path in account.archives(log)), "all are compressed", 60)
            assert daemon.stop() == 0
        lines = {path.name: int(path.read_text().split()[0]) for path in report.iterdir()}
        return account.settle(log, lines)


@contextlib.contextmanager
def _scribe(log: Path, report: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-S", HERE / "scribe.py", "watch", log, "--ids", "a", "--report", report, "--rate", "5000"]
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(10)


def _open_all(folder: Path) -> int:
    """Opens everything that is not compressed yet, as a careless `tail` or editor would; returns how much there was."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.endswith(".zst"):
                with contextlib.suppress(FileNotFoundError):
                    _is_refused(entry.path)
                    count += 1
    return count
