"""A process that holds a file open in one of many ways: `holding.py KIND PATH`; a byte has it hold, another let go.

It answers `h` once it holds the file and `d` once it has let go. WRITING are the ways of those who can write it,
READING of those who cannot.
"""

import array
import mmap
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ANOTHER, DELETED = "another user's", "a deleted file's"
NOBODY = 65534

Hold = Callable[[str], Iterator[None]]


def _opened(flags: int) -> Hold:
    def hold(path: str) -> Iterator[None]:
        descriptor = os.open(path, flags)
        yield
        os.close(descriptor)

    return hold


def _linked(path: str) -> Iterator[None]:
    """By another name of the same file."""
    yield from _opened(os.O_WRONLY)(f"{path}.link")


def _mapped(path: str) -> Iterator[None]:
    """By a shared mapping; the descriptor is closed."""
    descriptor = os.open(path, os.O_RDWR)
    mapping = mmap.mmap(descriptor, 4)
    os.close(descriptor)
    yield
    mapping.close()


def _mapped_private(path: str) -> Iterator[None]:
    """A private mapping may be written, but never the file."""
    descriptor = os.open(path, os.O_RDONLY)
    mapping = mmap.mmap(descriptor, 4, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(descriptor)
    yield
    mapping.close()


def _in_flight(path: str) -> Iterator[None]:
    """By a descriptor that was sent over a socket, closed by its sender and not received by anybody (SCM_RIGHTS)."""
    sender, receiver = socket.socketpair()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    sender.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
    os.close(descriptor)
    yield
    sender.close()
    receiver.close()


def _reopened(path: str) -> Iterator[None]:
    """By a descriptor for reading that was opened again for writing through /proc."""
    reading = os.open(path, os.O_RDONLY)
    writing = os.open(f"/proc/self/fd/{reading}", os.O_WRONLY | os.O_APPEND)
    os.close(reading)
    yield
    os.close(writing)


def _inherited(path: str) -> Iterator[None]:
    """By a child alone, which got the descriptor from its parent."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    waiting, ending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ending)
        os.read(waiting, 1)  # also ends when the parent was killed
        os._exit(0)
    os.close(waiting)
    os.close(descriptor)
    yield
    os.close(ending)
    os.waitpid(child, 0)


WRITING: dict[str, Hold] = {
    "O_WRONLY": _opened(os.O_WRONLY),
    "O_APPEND": _opened(os.O_WRONLY | os.O_APPEND),
    "O_RDWR": _opened(os.O_RDWR),
    ANOTHER: _opened(os.O_WRONLY | os.O_APPEND),
    "by a hard link": _linked,
    "a mapping without a descriptor": _mapped,
    "a descriptor in flight": _in_flight,
    "reopened through /proc": _reopened,
    "inherited by a child": _inherited,
    DELETED: _opened(os.O_WRONLY | os.O_APPEND),
}
READING: dict[str, Hold] = {
    "O_RDONLY": _opened(os.O_RDONLY),
    "O_PATH": _opened(os.O_PATH),
    "a private mapping": _mapped_private,
}


def main() -> None:
    kind, path = sys.argv[1:]
    if kind == ANOTHER:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    hold = contextmanager((WRITING | READING)[kind])
    while os.read(0, 1):
        with hold(path):
            os.write(1, b"h")
            os.read(0, 1)
        os.write(1, b"d")


if __name__ == "__main__":
    main()
