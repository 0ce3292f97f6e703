"""What is in files: written whole, changed at a place, or added to."""

import fcntl
import os
import stat as st
import time

from maintd import names
from maintd.durable.files import Ownership, create, discard, dress, replace
from maintd.errors import NotYet, Refused
from maintd.linux import named

_PATIENCE = 2.0
_PAUSE = 0.005
"""Seconds for which others who add are waited for, and between two looks. They take milliseconds."""


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data` at the descriptor's position."""
    view = memoryview(data)
    with named(descriptor):
        while view:
            view = view[os.write(descriptor, view) :]


def write_whole(name: str, data: bytes, *, dir_fd: int) -> None:
    """Writes a small file of ours, or puts another in its place, durable: it is there as before, or whole."""
    temporary = names.temporary(name)
    discard(temporary, dir_fd=dir_fd)
    descriptor = create(temporary, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
        replace(temporary, name, dir_fd=dir_fd)
    except BaseException:
        discard(temporary, dir_fd=dir_fd)
        raise
    finally:
        os.close(descriptor)


def opened_to_change(name: str, *, dir_fd: int) -> int:
    """A descriptor for reading and changing a regular file in place; a link is refused and a FIFO does not hang."""
    descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    if not st.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(f"{names.printable(name)} is not a regular file")
    return descriptor


def overwrite(descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of `data` at `offset`, durable."""
    add(descriptor, data, offset)
    os.fdatasync(descriptor)


def add(descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of `data` at `offset`; syncs nothing."""
    view = memoryview(data)
    with named(descriptor):
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written


def append(name: str, data: bytes, ownership: Ownership, *, dir_fd: int) -> None:
    """Adds whole lines to a file of maintd's, which is made if need be, durable: all of them, or on failure none.

    It is locked meanwhile (flock(2)), against others who add; NotYet if somebody keeps it locked for a while, as
    whoever may read it can. A last line that a crash has torn is ended first.
    """
    while not _appended(name, data, ownership, dir_fd):
        pass  # whoever had made the file could not give it its owner, and took it back


def _lock(descriptor: int, name: str) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                who = f"another process has {names.printable(name)} locked"
                raise NotYet(who, hint="look at whose it is (fuser)") from None
            time.sleep(_PAUSE)
        else:
            return


def _appended(name: str, data: bytes, ownership: Ownership, dir_fd: int) -> bool:
    """Whether the lines were added; not if the file is gone by the time that it is locked."""
    try:
        descriptor = os.open(
            name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd
        )
        is_new = True
    except FileExistsError:
        try:
            descriptor, is_new = opened_to_change(name, dir_fd=dir_fd), False
        except FileNotFoundError:
            return False
    try:
        _lock(descriptor, name)
        info = os.fstat(descriptor)
        if info.st_nlink == 0:
            return False
        if is_new:
            _dress_new(name, descriptor, ownership, dir_fd)
        end = info.st_size
        is_torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
        try:
            add(descriptor, b"\n" * is_torn + data, end)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            if is_new and end == 0:
                os.unlink(name, dir_fd=dir_fd)
            raise
    finally:
        os.close(descriptor)
    return True


def _dress_new(name: str, descriptor: int, ownership: Ownership, dir_fd: int) -> None:
    """Gives a new file its owner, durable. If that fails it goes again, unless somebody has added to it by then."""
    try:
        dress(descriptor, ownership)
        os.fsync(dir_fd)
    except OSError:
        if os.fstat(descriptor).st_size == 0:
            os.unlink(name, dir_fd=dir_fd)
        raise
