"""What is done to a log itself: set aside, put back, collapsed and cut under the hands of its writers."""

import contextlib
import os
from collections.abc import Iterator

from maintd import names
from maintd.durable.contents import opened_to_change
from maintd.durable.files import discard, require_plain, require_planned
from maintd.errors import Refused
from maintd.linux import collapse_range, named, rename_noreplace
from maintd.steps import Seen


def set_aside(log: Seen, archive: str, *, dir_fd: int, archive_fd: int) -> None:
    """Renames a live log to its archive name. If that moved another file than the planned one, it is moved back.

    Raises Refused if the log is not the planned file any more, FileExistsError if the archive name is taken.
    """
    name = os.path.basename(log.path)
    require_planned(log, dir_fd=dir_fd)
    rename_noreplace(name, archive, old_dir=dir_fd, new_dir=archive_fd)
    if not log.is_same_file(os.lstat(archive, dir_fd=archive_fd)):
        rename_noreplace(archive, name, old_dir=archive_fd, new_dir=dir_fd)
        raise Refused(f"{names.printable(log.path)} was replaced by somebody else at this moment; it was put back")


def put_fresh(temporary: str, log: str, *, dir_fd: int) -> None:
    """Gives the new, empty log its name. If the writer made one itself meanwhile, that one stays."""
    try:
        rename_noreplace(temporary, log, old_dir=dir_fd, new_dir=dir_fd)
    except FileExistsError:
        discard(temporary, dir_fd=dir_fd)


def put_back(archive: str, log: str, *, dir_fd: int, archive_fd: int) -> None:
    """Gives a log that was set aside its own name again. FileExistsError if its writer made a new one meanwhile."""
    rename_noreplace(archive, log, old_dir=archive_fd, new_dir=dir_fd)
    os.fsync(dir_fd)


@contextlib.contextmanager
def live(name: str, log: Seen, *, dir_fd: int) -> Iterator[int]:
    """A descriptor for changing the planned log where it is, beside its writers; Refused if it is another file now.

    It has no O_APPEND: pwrite(2) would write at the end in spite of its offset.
    """
    descriptor = opened_to_change(name, dir_fd=dir_fd)
    try:
        info = os.fstat(descriptor)
        if not log.is_same_file(info):
            raise Refused(f"{names.printable(log.path)} is not the file that was planned any more")
        require_plain(log.path, info)
        yield descriptor
    finally:
        os.close(descriptor)


def make_ready(log: int, offset: int) -> None:
    """Makes a collapse from `offset` on a matter of milliseconds: the rest of the log is synced, and not cached.

    The kernel drops the cached rest of the file while writers wait, which takes long where that is dirty.
    """
    os.fdatasync(log)
    os.posix_fadvise(log, offset, 0, os.POSIX_FADV_DONTNEED)


def collapse(log: int, end: int, length: int) -> None:
    """Takes the `length` bytes before `end` out of a log that is being appended to: what follows moves down.

    Both are whole blocks, and `end` lies before the end of the file (fallocate(2), FALLOC_FL_COLLAPSE_RANGE).
    """
    collapse_range(log, end - length, length)


def reserve(descriptor: int, size: int) -> None:
    """Takes the blocks for `size` bytes, or fails with ENOSPC (posix_fallocate(3))."""
    with named(descriptor):
        os.posix_fallocate(descriptor, 0, size)


def cut(descriptor: int, length: int) -> None:
    """Cuts a file to `length` bytes; syncs nothing."""
    os.ftruncate(descriptor, length)


def forget_intent(name: str, *, dir_fd: int) -> None:
    """Removes the intent of a rotation in place that has ended, for good."""
    if not name.endswith(names.INTENT):
        raise Refused(f"{names.printable(name)} is not an intent of maintd")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=dir_fd)
    os.fsync(dir_fd)
