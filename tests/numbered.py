"""A process that writes numbered lines to a log and cannot be told anything, and whether all of them are there."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from maintd.names import parse_archive

from .tree import content

WRITER = """
import os, sys

path, flags, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
log, number = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644), 0
os.write(1, b"0\\n")
for order in sys.stdin:
    end = number + int(order)
    while number < end:
        os.write(log, b"%09d %s\\n" % (number, b"x" * (number * 7 % size)))
        number += 1
    os.write(1, b"%d\\n" % number)
"""


class Writer:
    """A process that holds a log open and cannot be told anything; it writes as many numbered lines as it is asked."""

    def __init__(self, log: Path, flags: int, size: int) -> None:
        self.log, self.size = log, size
        argv = [sys.executable, "-IS", "-c", WRITER, log, str(flags), str(size)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.written = self._answer()

    def write(self, lines: int) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"%d\n" % lines)
        self.process.stdin.flush()
        self.written = self._answer()

    def _answer(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def line(self, number: int) -> bytes:
        return b"%09d %s" % (number, b"x" * (number * 7 % self.size))

    def check(self) -> None:
        """All that was written is in the archives and the log, read in order, each line once, archives whole lines."""
        found = [(parse_archive(path.name), path) for path in self.log.parent.glob(f"{self.log.name}.2*")]
        archives = [path for name, path in sorted((name, path) for name, path in found if name)]
        contents = [content(path) for path in archives]
        assert all(data.endswith(b"\n") for data in contents)
        assert not any(line.isspace() for data in contents for line in data.splitlines())
        lines = [line for line in b"".join([*contents, self.log.read_bytes()]).splitlines() if not line.isspace()]
        assert lines == [self.line(number) for number in range(self.written)]


@contextlib.contextmanager
def writing(log: Path, flags: int = os.O_APPEND, size: int = 200) -> Iterator[Writer]:
    writer = Writer(log, flags, size)
    try:
        yield writer
    finally:
        writer.process.kill()
        writer.process.communicate()
