"""Databases that are out of WAL mode while their page size changes: noted, for the run after one that was killed.

A note is a file in maintd's own directory for what it does to databases, where their copies lie, too.
"""

import hashlib
import os
from collections.abc import Sequence

from maintd import durable

_SUFFIX = ".was-wal"


def note(folder: str, path: str, inode: Sequence[int]) -> None:
    """Keeps, durable, that the database at `path`, which is that (device, inode), had WAL mode."""
    with durable.directory(folder) as dir_fd:
        durable.write_whole(_name(path), _content(path, inode), dir_fd=dir_fd)


def is_noted(folder: str, path: str, inode: Sequence[int]) -> bool:
    """Whether that database, and none that took its place, is still to get WAL mode back."""
    try:
        with open(os.path.join(folder, _name(path)), "rb") as file:
            return file.read() == _content(path, inode)
    except OSError:
        return False


def forget(folder: str, path: str) -> None:
    """It has the mode that it is to have."""
    with durable.directory(folder) as dir_fd:
        durable.unlink_own(_name(path), dir_fd=dir_fd)


def _name(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:32] + _SUFFIX


def _content(path: str, inode: Sequence[int]) -> bytes:
    """Without the device: a file system may have got another number since, in a reboot."""
    return b"%d %s\n" % (inode[1], os.fsencode(path))
