"""A service that logs: `scribe.py KIND LOG --ids a --report DIR`, writes numbered lines until SIGTERM.

Each id is one writer, a process of its own; several share the log the way the kind says. A writer keeps the number of
lines it has written in DIR/ID, and adds how long its worst write took when it ends: `NUMBER MILLISECONDS`.
"""

import argparse
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from numbered import LINES_A_BLOCK, SPANS, block

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
BATCH = 100
"""How many lines are written between two looks at the clock, and at what the log's name means by now."""


class Log:
    """Where the lines go; one write(2) for each. `appending` False keeps an offset of its own, from the file's end."""

    def __init__(self, path: str, *, appending: bool = True) -> None:
        self.path = path
        self.flags = FLAGS | (os.O_APPEND if appending else 0)
        self.told = False
        self.fd = self.open()

    def open(self) -> int:
        descriptor = os.open(self.path, self.flags, 0o644)
        os.lseek(descriptor, 0, os.SEEK_END)
        return descriptor

    def write(self, line: memoryview) -> None:
        written = os.write(self.fd, line)
        while written < len(line):
            written += os.write(self.fd, line[written:])

    def look(self) -> None:
        """What is done now and then, between two lines."""
        if self.told:
            self.told = False
            self.reopen()

    def reopen(self) -> None:
        os.close(self.fd)
        self.fd = self.open()

    def close(self) -> None:
        os.close(self.fd)


class Pipe(Log):
    """Standard output, which supervisord reads and writes into the log."""

    def open(self) -> int:
        return 1


class Reopening(Log):
    """Reopens its log on SIGHUP, at the next line."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        signal.signal(signal.SIGHUP, self.hear)

    def hear(self, *_: object) -> None:
        self.told = True

    def close(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # Python, as it ends, gives the default back, which is to die
        super().close()


class Watching(Log):
    """Reopens its log by itself, when its name means another file."""

    def look(self) -> None:
        try:
            moved = not os.path.samestat(os.stat(self.path), os.fstat(self.fd))
        except FileNotFoundError:
            moved = True
        if moved:
            self.reopen()


class Stdio(Log):
    """The C library's own buffered stream, which cuts lines where its buffer of 4096 bytes happens to be full."""

    def open(self) -> int:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.fopen.restype = ctypes.c_void_p
        self.libc.fwrite.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
        self.libc.fwrite.restype = ctypes.c_size_t
        self.libc.fclose.argtypes = [ctypes.c_void_p]
        self.stream = self.libc.fopen(os.fsencode(self.path), b"a")
        if not self.stream:
            raise OSError(ctypes.get_errno(), "fopen", self.path)
        return -1

    def write(self, line: memoryview) -> None:
        if self.libc.fwrite(bytes(line), 1, len(line), self.stream) != len(line):
            raise OSError(ctypes.get_errno(), "fwrite", self.path)

    def close(self) -> None:
        if self.libc.fclose(self.stream):
            raise OSError(ctypes.get_errno(), "fclose", self.path)


KINDS: dict[str, Callable[[str], Log]] = {
    "pipe": Pipe,
    "append": Log,
    "offset": lambda path: Log(path, appending=False),
    "reopen": Reopening,
    "watch": Watching,
    "stdio": Stdio,
}


class Writer:
    """One writer: its lines, its pace, its report."""

    def __init__(self, ident: str, log: Log, report: Path) -> None:
        self.ident, self.log = ident.encode(), log
        self.report = os.open(report / ident, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self.going = True
        self.lines = 0
        self.worst = 0.0
        self.parent = os.getppid()
        signal.signal(signal.SIGTERM, self.stop)

    def stop(self, *_: object) -> None:
        self.going = False

    def run(self, rate: int) -> None:
        """Writes until it is stopped, or its parent has gone; `rate` in lines a second, 0 for as fast as it goes."""
        begun = time.monotonic()
        while self.going and os.getppid() == self.parent:
            self.write_batch()
            self.log.look()
            self.tell(0)
            while rate and self.going and (ahead := begun + self.lines / rate - time.monotonic()) > 0:
                time.sleep(min(ahead, 0.01))
        self.log.close()
        self.tell(self.worst)

    def write_batch(self) -> None:
        number, first = divmod(self.lines, LINES_A_BLOCK)
        text = memoryview(block(self.ident, number))
        write, clock = self.log.write, time.perf_counter
        for begin, end in SPANS[first : first + BATCH]:
            before = clock()
            write(text[begin:end])
            self.worst = max(self.worst, clock() - before)
            self.lines += 1
            if self.log.told or not self.going:
                return

    def tell(self, worst: float) -> None:
        os.pwrite(self.report, b"%d %.3f\n" % (self.lines, worst * 1000), 0)


def fork(idents: str, log: Log, report: Path, rate: int) -> int:
    """A writer for each id, children that share the log's open file; returns the exit code."""
    children: list[int] = []
    for ident in idents:
        child = os.fork()
        if child == 0:
            Writer(ident, log, report).run(rate)
            os._exit(0)
        children.append(child)
    log.close()
    signal.signal(signal.SIGTERM, lambda *_: [os.kill(child, signal.SIGTERM) for child in children])
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("log")
    parser.add_argument("--ids", default="a")
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--rate", type=int, default=0)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    log = KINDS[asked.kind](asked.log)
    if len(asked.ids) > 1:
        return fork(asked.ids, log, asked.report, asked.rate)
    Writer(asked.ids, log, asked.report).run(asked.rate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
