"""By what units a file system takes room out of the front of a file (fallocate(2), FALLOC_FL_COLLAPSE_RANGE).

Whole blocks, says the manual; on ext4 with bigalloc it is whole clusters of them, of which only the superblock tells.
"""

import os
import stat

from maintd import durable, linux
from maintd.errors import MaintdError

_PLAIN = {0x58465342: "xfs", 0xF2F52010: "f2fs"}
"""The file systems, by their magic number, that can do it with any file."""
_EXT = 0xEF53
_WITH_EXTENTS = {_EXT: "ext4", 0x794C7630: "overlay"}
"""Those that can where the file consists of extents: ext4, and overlay with an ext4 below; ext3 has the same number."""
LARGEST = 128 << 10
"""Bytes. What is archived and stays at the head of a log, under a mark, is less than a unit and a bit."""

_SUPERBLOCK = 1024
"""Where it lies, and how long it is, in bytes; the rest is of the kernel's documentation, "ext4: Super Block"."""
_LOG_CLUSTER_SIZE = slice(0x1C, 0x20)
_MAGIC = slice(0x38, 0x3A)
_RO_COMPAT = slice(0x64, 0x68)
_BIGALLOC = 0x200
_MOST = 18
"""The largest cluster is 1024 << 18 bytes, 256 MiB."""


def unit(path: str) -> int:
    """The bytes of which a multiple can be taken out of the front of the file; 0 if that cannot be done with it.

    Where the superblock may not be read it is the block size, and a collapse may turn out impossible after all.
    """
    folder, name = os.path.split(path)
    try:
        magic = linux.type_of_file_system(folder)
        if magic not in _PLAIN and magic not in _WITH_EXTENTS:
            return 0
        with durable.directory(folder) as dir_fd, durable.opened(name, dir_fd=dir_fd) as file:
            if magic in _WITH_EXTENTS and not linux.has_extents(file):
                return 0
            found = max(os.fstatvfs(file).f_bsize, _cluster(os.fstat(file).st_dev) if magic == _EXT else 0)
    except (OSError, MaintdError):
        return 0
    return found if found <= LARGEST else 0


def block(path: str) -> int:
    """The block size of the file system that holds the file; 1 if its directory has just gone."""
    try:
        return os.statvfs(os.path.dirname(path)).f_bsize
    except OSError:
        return 1


def _cluster(device: int) -> int:
    """The cluster size, in bytes, of ext4 with bigalloc on a block device; 0 for others, and if it may not be read."""
    try:
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/uevent", encoding="utf-8") as lines:
            told = dict(line.rstrip("\n").partition("=")[::2] for line in lines)
        file = os.open(f"/dev/{told['DEVNAME']}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, KeyError, ValueError):
        return 0
    try:
        info = os.fstat(file)
        if not stat.S_ISBLK(info.st_mode) or info.st_rdev != device:
            return 0
        found = os.pread(file, _SUPERBLOCK, _SUPERBLOCK)
    except OSError:
        return 0
    finally:
        os.close(file)
    magic, ro_compat, log = (int.from_bytes(found[at], "little") for at in (_MAGIC, _RO_COMPAT, _LOG_CLUSTER_SIZE))
    return 1024 << log if magic == _EXT and ro_compat & _BIGALLOC and log <= _MOST else 0
