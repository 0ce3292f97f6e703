"""A writer in a process of its own, which writes and opens when it is told to, and reopens its log on SIGHUP."""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path


class Holder:
    """Appends to one log at a time, as a service does that was started long before."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen([sys.executable, "-IS", __file__], stdin=theirs)
        theirs.close()
        self._ask(b"close")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_stopped(self) -> bool:
        """Whether somebody has stopped it (proc_pid_stat(5))."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(") ")[2].startswith("T")

    def open(self, log: Path, *, appending: bool = True) -> None:
        """Has it open a log; if it is not to append, it writes at its own offset, from the end on."""
        self._ask((b"open " if appending else b"place") + os.fsencode(log))

    def write(self, data: bytes) -> None:
        """Appends to what it has open, and has it on the disk when this returns."""
        self._ask(b"write" + data)

    def close(self) -> None:
        """Has it close its log."""
        self._ask(b"close")

    def inode(self) -> int:
        """The number of the file that it writes."""
        return int(self._ask(b"inode"))

    def end(self) -> None:
        self._channel.close()
        self._process.wait(10)

    def _ask(self, message: bytes) -> bytes:
        self._channel.send(message)
        answer = self._channel.recv(256)
        assert answer, "the holder has died"
        return answer


def _hold() -> None:
    """The process: told by its standard input, woken by SIGHUP."""
    channel = socket.socket(fileno=0)
    wakes, wake = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGHUP, lambda *_: None)
    log, path, flags = -1, b"", os.O_APPEND
    while True:
        ready = select.select([channel, wakes], [], [])[0]
        if wakes in ready:
            os.read(wakes, 256)
            log = _reopened(log, path, flags) if path else log
            continue  # a signal that came first is heeded first
        message = channel.recv(1 << 16)
        verb, rest = message[:5], message[5:]
        if not message:
            return
        if verb == b"write":
            assert os.write(log, rest) == len(rest)
            os.fsync(log)
        elif verb != b"inode":
            path, flags = rest, 0 if verb == b"place" else os.O_APPEND
            log = _reopened(log, path, flags)
        channel.send(b"%d" % (os.fstat(log).st_ino if log >= 0 else 0))


def _reopened(log: int, path: bytes, flags: int) -> int:
    fresh = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644) if path else -1
    if fresh >= 0:
        os.lseek(fresh, 0, os.SEEK_END)
    if log >= 0:
        os.close(log)
    return fresh


if __name__ == "__main__":
    _hold()
