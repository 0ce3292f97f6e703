"""A service that logs some 20,000 lines a second until it is told to stop, and where its lines are after a rotation."""

import contextlib
import gzip
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

WRITER = """
import os, select, sys

log, flags, number = sys.argv[1], int(sys.argv[2]), 0
file = os.open(log, os.O_WRONLY | os.O_CREAT | flags, 0o644)
os.lseek(file, 0, os.SEEK_END)
os.write(1, b"ready\\n")
while not select.select([0], [], [], 0.001)[0]:
    for number in range(number, number + 20):
        os.write(file, b"%09d a line of a busy service, which is as long as such lines are\\n" % number)
    number += 1
os.write(1, b"%d\\n" % number)
sys.stdin.read()
"""


class Busy:
    """The writer of a log, at work until `stop`, from when on it only holds the log open."""

    def __init__(self, log: Path, flags: int) -> None:
        argv = [sys.executable, "-IS", "-c", WRITER, str(log), str(flags)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.log = log
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n"

    def stop(self) -> int:
        """How many lines were written in all."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextlib.contextmanager
def busy(log: Path, flags: int) -> Iterator[Busy]:
    writer = Busy(log, flags)
    try:
        yield writer
    finally:
        writer.process.kill()
        writer.process.communicate()


def numbers(folder: Path, name: str) -> Counter[bytes]:
    """How often each numbered line is in the files of a log, compressed or not."""
    found: Counter[bytes] = Counter()
    for path in folder.glob(f"{name}*"):
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        found.update(line[:9] for line in data.splitlines() if line[:9].isdigit() and line.endswith(b"lines are"))
    return found


def lost(folder: Path, name: str, written: int) -> int:
    """How many lines are nowhere. None may be there twice."""
    found = numbers(folder, name)
    assert not found or max(found.values()) == 1
    return written - len(found)
