"""The compressed copy of a file: made, verified, dressed and published in a child; then the original is removed."""

import contextlib
import errno
import hashlib
import os
import stat as st
from typing import Any

from maintd import codec, durable, holders, names
from maintd.durable import Ownership
from maintd.errors import MaintdError, NotYet, Refused
from maintd.steps import Seen
from maintd.units import format_size
from maintd.values import dataclass

MOST_HOLES = 16 << 30
"""Bytes. A log of holes comes of a writer without O_APPEND whose file was cut, or of malice: 1 TiB takes no block."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Request:
    """What the child is asked. `grows` says that the file was still live when `seen`, so it may be larger by now."""

    path: str
    seen: Seen | None
    codec: str
    level: int | None
    undisturbed: bool
    grows: bool

    def is_busy(self, source: int) -> bool:
        return holders.is_open_elsewhere(source) if self.undisturbed else holders.may_be_written(source)

    def is_planned(self, now: os.stat_result) -> bool:
        if self.seen is None:
            return True
        return self.seen.is_same_file(now) if self.grows else self.seen.is_unchanged(now)


def compress_file(progress: codec.Progress, *, request: dict[str, Any]) -> dict[str, Any]:
    """Compresses one file, in the child. Raises Refused if it is not the planned one, NotYet if it is open."""
    wanted = Request(**(request | {"seen": Seen(**request["seen"]) if request["seen"] else None}))
    name = os.path.basename(wanted.path)
    target = name + names.CODEC_SUFFIXES[wanted.codec]
    how = codec.Codec(wanted.codec, wanted.level)
    with durable.directory(os.path.dirname(wanted.path)) as dir_fd, durable.opened(name, dir_fd=dir_fd) as source:
        now = os.fstat(source)
        if not wanted.is_planned(now):
            raise Refused(f"{names.printable(wanted.path)} has changed since it was planned, and was left alone")
        durable.require_plain(wanted.path, now)
        require_dense(wanted.path, now)
        if wanted.is_busy(source):
            raise NotYet(f"{names.printable(wanted.path)} is open in another process")
        was_there = exists(target, dir_fd)
        if was_there:
            check_content(progress, source, target, how, dir_fd=dir_fd)
        else:
            compress_beside(progress, source, target, how, dir_fd=dir_fd)
        out = os.lstat(target, dir_fd=dir_fd)
        try:
            remove_original(Seen.of(wanted.path, now), source, dir_fd=dir_fd)
        except BaseException:
            if not was_there and is_still(name, source, dir_fd):  # never both: a failing fsync follows the unlink
                durable.remove(Seen.of(target, out), dir_fd=dir_fd)
                os.fsync(dir_fd)
            raise
    return {"in_bytes": now.st_size, "out_bytes": out.st_size}


def require_dense(path: str, info: os.stat_result) -> None:
    """Refuses what is next to nothing but holes: it takes hours to read, and its copy would be larger than it is."""
    taken = 512 * info.st_blocks
    if info.st_size - taken > MOST_HOLES and 64 * taken < info.st_size:
        raise Refused(
            f"{names.printable(path)} is sparse: {format_size(info.st_size)}, and {format_size(taken)} on the disk",
            hint="its writer does not append, or somebody made it so; remove it, or copy it without holes",
        )


def compress_beside(progress: codec.Progress, source: int, target: str, how: codec.Codec, *, dir_fd: int) -> None:
    """Makes the compressed copy, verified, whole and durable, under its final name."""
    temporary = names.temporary(target)
    _discard_unused(temporary, dir_fd=dir_fd)
    copy = durable.create(temporary, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
    try:
        codec.compress_fd(source, copy, how, progress)
        durable.copy_attributes(source, copy)
        os.fsync(copy)
        durable.publish(temporary, target, copy, dir_fd=dir_fd)
    except BaseException:
        if is_still(temporary, copy, dir_fd):
            durable.discard(temporary, dir_fd=dir_fd)
        raise
    finally:
        os.close(copy)


def _discard_unused(temporary: str, *, dir_fd: int) -> None:
    """Removes what an interrupted run left. NotYet if somebody is writing it: another maintd on the same directory."""
    with (
        contextlib.suppress(FileNotFoundError),
        durable.opened(temporary, dir_fd=dir_fd) as left,
        holders.unwritable(left) as free,
    ):
        if not free:
            raise NotYet(f"{names.printable(temporary)} is being written by another process")
        durable.discard(temporary, dir_fd=dir_fd)


def check_content(progress: codec.Progress, source: int, target: str, how: codec.Codec, *, dir_fd: int) -> None:
    """Syncs a compressed copy that an interrupted run had made, and may not have synced, and compares it.

    FileExistsError if it is of another file, or belongs to neither root nor the owner of the original: its owner could
    change it as soon as that is gone.
    """
    with durable.opened(target, dir_fd=dir_fd) as copy:
        if os.fstat(copy).st_uid not in (0, os.fstat(source).st_uid):
            raise FileExistsError(errno.EEXIST, "a file of that name that belongs to another user is there", target)
        os.fsync(copy)
        os.fsync(dir_fd)
        try:
            found = codec.verify_fd(copy, how, progress)
        except (OSError, MaintdError):
            found = (-1, "")
    if found != (os.fstat(source).st_size, digest(progress, source)):
        raise FileExistsError(errno.EEXIST, "a file of that name with other content is there already", target)


def digest(progress: codec.Progress, descriptor: int) -> str:
    """The SHA-256 of a file's content, in hex; `progress` is told how many bytes of it were read."""
    found, offset = hashlib.sha256(), 0
    while data := os.pread(descriptor, _CHUNK, offset):
        found.update(data)
        offset += len(data)
        progress(offset)
    return found.hexdigest()


def remove_original(exact: Seen, source: int, *, dir_fd: int) -> None:
    """Removes the original. NotYet if somebody has come to write it since, or its inode was changed in any way."""
    with holders.unwritable(source) as free:
        require_untouched(exact, source, free=free)
        durable.remove(exact, dir_fd=dir_fd)
    os.fsync(dir_fd)


def require_untouched(exact: Seen, source: int, *, free: bool) -> None:
    """NotYet if the file is not `free` of writers, or its inode was changed in any way since.

    That is told by its ctime, which nobody can set back, and which nothing of what is done here changes.
    """
    now = os.fstat(source)
    if not free or not exact.is_unchanged(now) or now.st_ctime_ns != exact.ctime_ns:
        raise NotYet(f"{names.printable(exact.path)} was touched while it was being copied, and was left alone")


def is_still(name: str, descriptor: int, dir_fd: int) -> bool:
    """Whether the name still means the opened file."""
    try:
        return os.path.samestat(os.lstat(name, dir_fd=dir_fd), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def exists(name: str, dir_fd: int) -> bool:
    try:
        return st.S_ISREG(os.lstat(name, dir_fd=dir_fd).st_mode)
    except FileNotFoundError:
        return False
