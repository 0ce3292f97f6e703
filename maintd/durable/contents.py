"""What is in files: written whole, changed at a place, or added to."""

import contextlib
import fcntl
import os
import stat as st
import time
from collections.abc import Iterator

from maintd import names
from maintd.durable.files import Ownership, create, discard, dress, replace, unlink_own
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

    Others who add are kept out meanwhile. A last line that a crash has torn is ended first.
    """
    with _alone(name, dir_fd):
        while not _appended(name, data, ownership, dir_fd):
            pass  # somebody has removed it at this moment


@contextlib.contextmanager
def _alone(name: str, dir_fd: int) -> Iterator[None]:
    """Keeps others out who add to that file. NotYet if somebody has kept them out for a while.

    A file that nobody else may open, there for that moment alone, is locked (flock(2)): whoever may read what
    is added to could lock that as well. What a kill leaves of it goes with other temporaries.
    """
    lock, end = names.lock(name), time.monotonic() + _PATIENCE
    while (descriptor := _locked(lock, dir_fd)) is None:
        if time.monotonic() > end:
            raise NotYet(f"another process has {names.printable(lock)} locked", hint="look at whose it is (fuser)")
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        unlink_own(lock, dir_fd=dir_fd)
        os.close(descriptor)


def _locked(lock: str, dir_fd: int) -> int | None:
    """The descriptor of the lock file; None if another has it, or may not be asked for it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(lock, flags, 0o600, dir_fd=dir_fd)
    except PermissionError:
        if not os.access(lock, os.F_OK, dir_fd=dir_fd, follow_symlinks=False):
            raise
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.lstat(lock, dir_fd=dir_fd), os.fstat(descriptor)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _appended(name: str, data: bytes, ownership: Ownership, dir_fd: int) -> bool:
    """Whether the lines were added; not if the file is gone by the time that it is opened."""
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
