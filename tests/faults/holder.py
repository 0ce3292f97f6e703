"""A writer in a process of its own, which writes and opens when it is told to, and reopens its log on SIGHUP.

One that is called supervisord has its protocol instead: on SIGUSR2 it closes its log, then opens it again to append,
and makes it if it is not there.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

Manner = Literal["append", "offset", "watch"]
"""How it has its log open: to append, at an offset of its own, or to append until another file has its name."""
SUPERVISORD = "supervisord"
_LOOKS = 0.02
_PATIENCE = 120.0


class Holder:
    """Appends to one log at a time, as a service does that was started long before; `name` is what it is called."""

    def __init__(self, name: str = os.path.basename(__file__)) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_PATIENCE)  # somebody may have stopped it
        self._folder = tempfile.TemporaryDirectory(prefix="faults-holder-")
        program = Path(self._folder.name, name)
        program.symlink_to(os.path.abspath(__file__))
        self._process = subprocess.Popen([sys.executable, "-IS", program], stdin=theirs)
        theirs.close()
        self._ask(b"close ")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_stopped(self) -> bool:
        """Whether somebody has stopped it (proc_pid_stat(5))."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(") ")[2].startswith("T")

    def open(self, log: Path, manner: Manner = "append") -> None:
        """Has it open a log; its own offset is the end at first."""
        self._ask(manner.encode().ljust(6) + os.fsencode(log))

    def write(self, data: bytes) -> int:
        """Appends to what it has open, and has it on the disk when this returns: the number of the file.

        To ask for that afterwards may be too late: it reopens its log whenever it is told to.
        """
        return int(self._ask(b"write " + data))

    def close(self) -> None:
        """Has it close its log."""
        self._ask(b"close ")

    def end(self) -> None:
        self._channel.close()
        self._process.wait(10)
        self._folder.cleanup()

    def _ask(self, message: bytes) -> bytes:
        self._channel.send(message)
        answer = self._channel.recv(256)
        assert answer, "the holder has died"
        return answer


class _Log:
    """The open log of the process, -1 if it has none."""

    def __init__(self) -> None:
        self.descriptor, self.path, self.manner = -1, b"", b""

    @property
    def watches(self) -> bool:
        return self.manner == b"watch "

    def reopen(self, *, closes_first: bool = False) -> None:
        if self.path:
            self.open(self.path, self.manner, closes_first=closes_first)

    def open(self, path: bytes, manner: bytes, *, closes_first: bool = False) -> None:
        if closes_first:
            self._close()
        flags = os.O_WRONLY | os.O_CREAT | (0 if manner == b"offset" else os.O_APPEND)
        fresh = os.open(path, flags, 0o644) if path else -1
        if fresh >= 0:
            os.lseek(fresh, 0, os.SEEK_END)
        self._close()
        self.descriptor, self.path, self.manner = fresh, path, manner

    def look(self) -> None:
        """Opens the log anew if another has its name, as programs do that look before each line."""
        with contextlib.suppress(OSError):  # the disk is read-only, or without power
            if not os.path.exists(self.path) or not os.path.samestat(os.fstat(self.descriptor), os.stat(self.path)):
                self.reopen()

    def _close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


def _hold(*, as_supervisord: bool) -> None:
    """The process: told by its standard input, woken by a signal."""
    channel = socket.socket(fileno=0)
    wakes, wake = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGUSR2 if as_supervisord else signal.SIGHUP, lambda *_: None)
    log = _Log()
    while True:
        ready = select.select([channel, wakes], [], [], _LOOKS if log.watches else None)[0]
        if log.watches:
            log.look()
        if wakes in ready:
            os.read(wakes, 256)
            with contextlib.suppress(OSError):  # the power went at this moment; it is told again after the start
                log.reopen(closes_first=as_supervisord)
            continue  # a signal that came first is heeded first
        if channel not in ready:
            continue
        message = channel.recv(1 << 16)
        verb, rest = message[:6], message[6:]
        if not message:
            return
        if verb == b"write ":
            assert os.write(log.descriptor, rest) == len(rest)
            os.fsync(log.descriptor)
        elif verb == b"close ":
            log.open(b"", b"")
        else:
            log.open(rest, verb)
        channel.send(b"%d" % (os.fstat(log.descriptor).st_ino if log.descriptor >= 0 else 0))


if __name__ == "__main__":
    _hold(as_supervisord=os.path.basename(sys.argv[0]) == SUPERVISORD)
