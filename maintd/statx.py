"""What a file is, by statx(2): also when it was made, by which it is told from others that had its inode before."""

import contextlib
import errno
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from maintd import linux

_AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = 0x100, 0x1000
_AT_NO_AUTOMOUNT, _AT_STATX_DONT_SYNC = 0x800, 0x4000
_STATX_INO, _STATX_BASIC_STATS, _STATX_BTIME = 0x100, 0x7FF, 0x800
_ANSWER = struct.Struct("=I24xHxxQQ32xqI4xqI4xqI12xII")
"""Of struct statx, the same on every machine: mask, mode, inode, size, birth, change, modification, device."""
_BILLION = 1_000_000_000
_REFUSED = (errno.ENOSYS, errno.EPERM)
"""Of an older kernel, or a seccomp filter."""


class Status(NamedTuple):
    """The device and inode of a file; its `size` in bytes; when it was `modified`, `changed` and `born`, in ns.

    `born` is 0 where the file system does not know it. The `mode` is that of stat(2).
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int
    born: int
    mode: int


def status(file: str | int) -> Status:
    """What a path, of a link itself, or a descriptor has. Raises OSError."""
    flags, wanted = _AT_NO_AUTOMOUNT | _AT_SYMLINK_NOFOLLOW, _STATX_BASIC_STATS | _STATX_BTIME
    try:
        if isinstance(file, int):
            answer = linux.statx("", flags | _AT_EMPTY_PATH, wanted, dir_fd=file)
        else:
            answer = linux.statx(file, flags, wanted)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        info = os.stat(file, follow_symlinks=isinstance(file, int))
        return Status(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns, 0, info.st_mode)
    mask, mode, inode, size, *times, major, minor = _ANSWER.unpack_from(answer)
    born, changed, modified = (times[at] * _BILLION + times[at + 1] for at in (0, 2, 4))
    return Status(os.makedev(major, minor), inode, size, modified, changed, born if mask & _STATX_BTIME else 0, mode)


def inodes_in(directory: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The name and the (device, inode) of what each entry of a directory leads to; what has just gone is left out.

    No server is asked (statx(2), AT_STATX_DONT_SYNC): stat(2) of a file on a network file system whose server is dead
    waits for that, for ever.
    """
    dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(dir_fd):
            with contextlib.suppress(OSError):
                yield name, _inode_of(dir_fd, name)
    finally:
        os.close(dir_fd)


def _inode_of(directory: int, name: str) -> tuple[int, int]:
    try:
        answer = linux.statx(name, _AT_NO_AUTOMOUNT | _AT_STATX_DONT_SYNC, _STATX_INO, dir_fd=directory)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        info = os.stat(name, dir_fd=directory)
        return info.st_dev, info.st_ino
    _, _, inode, *_, major, minor = _ANSWER.unpack_from(answer)
    return os.makedev(major, minor), inode
