"""Quick changes in a log's directory: in the daemon itself where root alone can write, else in a confined child.

All arguments and results are plain values that cross a pipe as JSON; a Seen and an Ownership come as their fields.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from maintd import durable, holders, names
from maintd.durable import Ownership
from maintd.errors import NotYet, Refused
from maintd.steps import Seen

Progress = Callable[[int], None]
Fields = dict[str, Any]
Identity = Sequence[int]
"""The device and inode of a directory."""


def set_aside(
    _progress: Progress, *, seen: Fields, archive: str, folder: Identity | None, ownership: Fields | None
) -> int:
    """Renames a log to `archive` (a path), and makes a new one unless `ownership` is None; returns the bytes it holds.

    Raises Refused if the log or the archive's folder is not the planned one any more, FileExistsError if the archive's
    name is taken.
    """
    log = Seen(**seen)
    name, target = os.path.basename(log.path), os.path.basename(archive)
    fresh = names.temporary(name)
    with (
        durable.directory(os.path.dirname(log.path)) as dir_fd,
        durable.directory(os.path.dirname(archive), folder) as archive_fd,
    ):
        durable.require_planned(log, dir_fd=dir_fd)  # before anything is made in what may be another directory
        durable.discard(fresh, dir_fd=dir_fd)
        try:
            if ownership is not None:
                _make(fresh, log, Ownership(**ownership), dir_fd)
            durable.set_aside(log, target, dir_fd=dir_fd, archive_fd=archive_fd)
        except BaseException:
            with contextlib.suppress(OSError):  # what went wrong first is what is told
                durable.discard(fresh, dir_fd=dir_fd)
            raise
        if ownership is not None:
            _put(fresh, name, target, dir_fd=dir_fd, archive_fd=archive_fd)
        os.fsync(archive_fd)
        if os.path.dirname(archive) != os.path.dirname(log.path):
            os.fsync(dir_fd)
        return os.lstat(target, dir_fd=archive_fd).st_size


def _make(fresh: str, log: Seen, ownership: Ownership, dir_fd: int) -> None:
    """Makes the new log, with the old one's extended attributes, and its access control list if it gets its mode."""
    is_alike = ownership.mode == log.mode & 0o7777
    made = durable.create(fresh, ownership, dir_fd=dir_fd)
    try:
        with durable.opened(os.path.basename(log.path), dir_fd=dir_fd) as old:
            if log.is_same_file(os.fstat(old)):  # another's access control list may let him in
                durable.copy_extended(old, made, acl=is_alike)
    except PermissionError:
        if is_alike:
            raise
    finally:
        os.close(made)


def _put(fresh: str, log: str, archive: str, *, dir_fd: int, archive_fd: int) -> None:
    """Gives the new log its name; if that fails, the old one gets its name back."""
    try:
        durable.put_fresh(fresh, log, dir_fd=dir_fd)
    except OSError:
        with contextlib.suppress(OSError):  # what cannot be taken back, the next run completes
            with contextlib.suppress(FileExistsError):  # its writer has made one itself
                durable.put_back(archive, log, dir_fd=dir_fd, archive_fd=archive_fd)
            durable.discard(fresh, dir_fd=dir_fd)
        raise


def renumber(_progress: Progress, *, seen: Fields, to: str) -> None:
    """Gives an archive another name beside it, durable. FileExistsError if that is taken."""
    archive = Seen(**seen)
    with durable.directory(os.path.dirname(archive.path)) as dir_fd:
        durable.set_aside(archive, to, dir_fd=dir_fd, archive_fd=dir_fd)
        os.fsync(dir_fd)


def finish(_progress: Progress, *, seen: Fields, log: str) -> None:
    """Puts the new log in place that an interrupted rotation of `log` (a path) had made already."""
    name = os.path.basename(log)
    with durable.directory(os.path.dirname(log)) as dir_fd:
        durable.require_planned(Seen(**seen), dir_fd=dir_fd)
        durable.put_fresh(names.temporary(name), name, dir_fd=dir_fd)
        os.fsync(dir_fd)


def make_directory(_progress: Progress, *, path: str, parent: Identity | None, ownership: Fields) -> None:
    """Makes a directory for archives in the planned one. FileExistsError if the name is taken."""
    with durable.directory(os.path.dirname(path), parent) as dir_fd:
        durable.make_directory(os.path.basename(path), Ownership(**ownership), dir_fd=dir_fd)


def delete(_progress: Progress, *, seen: Fields, undisturbed: bool = False, untouched: bool = False) -> None:
    """Deletes the planned file for good. NotYet if somebody writes it, Refused if it is another or has changed.

    `undisturbed` asks that nobody has it open at all, also for reading; `untouched`, that its ctime is as planned.
    """
    file = Seen(**seen)
    with (
        durable.directory(os.path.dirname(file.path)) as dir_fd,
        durable.opened(os.path.basename(file.path), dir_fd=dir_fd) as opened,
    ):
        if undisturbed and holders.is_open_elsewhere(opened):
            raise NotYet(f"{names.printable(file.path)} is open in another process")
        with holders.unwritable(opened) as free:
            if not free:
                raise NotYet(f"{names.printable(file.path)} is being written")
            if untouched and os.fstat(opened).st_ctime_ns != file.ctime_ns:
                raise Refused(f"{names.printable(file.path)} was touched since it was planned, and was left alone")
            durable.remove(file, dir_fd=dir_fd)
        os.fsync(dir_fd)


def remove_directory(_progress: Progress, *, path: str, inode: Identity) -> bool:
    """Removes the planned directory, if it is empty; returns whether it was. Refused if it is another one by now."""
    with durable.directory(os.path.dirname(path)) as dir_fd:
        is_gone = durable.remove_directory(os.path.basename(path), inode, dir_fd=dir_fd)
        os.fsync(dir_fd)
    return is_gone


def clean(_progress: Progress, *, path: str, seen: Fields) -> None:
    """Removes the planned temporary of ours. NotYet if somebody writes it: another maintd on the same directory."""
    name = os.path.basename(path)
    with (
        durable.directory(os.path.dirname(path)) as dir_fd,
        durable.opened(name, dir_fd=dir_fd) as left,
    ):
        with holders.unwritable(left) as free:
            if not free:
                raise NotYet(f"{names.printable(path)} is being written")
            if not Seen(**seen).is_same_file(os.fstat(left)):
                raise Refused(f"{names.printable(path)} is another one by now, and was left alone")
            durable.discard(name, dir_fd=dir_fd)
        os.fsync(dir_fd)


def tidy(_progress: Progress, *, path: str, beside: Fields | None) -> None:
    """Removes the temporary of a child that was killed, from the directory that holds the planned original.

    That is None if it was not planned, where nobody could meddle. It stays if somebody writes it by now.
    """
    name = os.path.basename(path)
    with (
        durable.directory(os.path.dirname(path)) as dir_fd,
        durable.opened(name, dir_fd=dir_fd) as left,
        holders.unwritable(left) as free,
    ):
        if beside:
            durable.require_planned(Seen(**beside), dir_fd=dir_fd)
        if free:
            durable.discard(name, dir_fd=dir_fd)
