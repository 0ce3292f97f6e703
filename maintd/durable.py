"""Every way maintd changes the disk. Nothing else may.

The order is always: write a temporary beside the target, fsync it, rename it without replacing, fsync the directory,
and only then remove what it stands for. All names are relative to a directory descriptor, so that nobody who swaps a
directory for a link can lead a root process elsewhere (CVE-2011-1548, 'logrotten').
"""

import contextlib
import errno
import os
import stat as st
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from maintd import confinement, names
from maintd.errors import Refused
from maintd.linux import collapse_range, open_beneath, rename_noreplace
from maintd.steps import Seen


@dataclass(frozen=True, slots=True)
class Ownership:
    """Mode bits, uid and gid of a file to be made."""

    mode: int
    uid: int
    gid: int


@contextlib.contextmanager
def directory(path: str, planned: Sequence[int] | None = None) -> Iterator[int]:
    """A descriptor of the directory `path`, in which no part may be a symbolic link.

    Refused if it is not the `planned` one, by (device, inode). In a process that is confined to some directories it is
    the one that was opened before.
    """
    held = confinement.held(path)
    descriptor = open_beneath(path, os.O_RDONLY | os.O_DIRECTORY) if held is None else held
    try:
        info = os.fstat(descriptor)
        if planned is not None and [info.st_dev, info.st_ino] != list(planned):
            raise Refused(f"{names.printable(path)} is not the directory that was planned any more")
        yield descriptor
    finally:
        if held is None:
            os.close(descriptor)


@contextlib.contextmanager
def opened(name: str, *, dir_fd: int) -> Iterator[int]:
    """A descriptor for reading a regular file; a link is refused and a FIFO does not hang."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        if not st.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused(f"{names.printable(name)} is not a regular file any more")
        yield descriptor
    finally:
        os.close(descriptor)


def create(name: str, ownership: Ownership, *, dir_fd: int) -> int:
    """Makes a new file that nobody else can open before it has its owner, and returns its descriptor for writing.

    The owner is given before the mode, since chown clears set-id bits and a mode given first would be open to the
    wrong owner. FileExistsError if the name is taken.
    """
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    try:
        dress(descriptor, ownership)
    except OSError:
        os.close(descriptor)
        os.unlink(name, dir_fd=dir_fd)
        raise
    return descriptor


def dress(descriptor: int, ownership: Ownership) -> None:
    """Gives a file its owner, then its mode."""
    info = os.fstat(descriptor)
    mode = ownership.mode
    if (info.st_uid, info.st_gid) != (ownership.uid, ownership.gid):
        try:
            os.fchown(descriptor, ownership.uid, ownership.gid)
        except PermissionError:
            if info.st_uid != ownership.uid:
                raise
            mode &= ~0o070  # our own file, but not our group: then no group gets what was meant for that one
    os.fchmod(descriptor, mode)


def copy_attributes(source: int, target: int) -> None:
    """Gives `target` the owner, mode, extended attributes and times of `source`.

    An attribute that the file system or the caller's rights do not allow (`security.*` without CAP_SYS_ADMIN) is left
    out; `ENOTSUP` means that there are none.
    """
    info = os.fstat(source)
    dress(target, Ownership(st.S_IMODE(info.st_mode), info.st_uid, info.st_gid))
    copy_extended(source, target)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))


def copy_extended(source: int, target: int) -> None:
    """Gives `target` the extended attributes of `source`, access control lists among them."""
    for attribute in _attributes(source):
        try:
            os.setxattr(target, attribute, os.getxattr(source, attribute))
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA):
                raise


def _attributes(descriptor: int) -> list[str]:
    try:
        return os.listxattr(descriptor)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data` at the descriptor's position."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


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


def require_planned(log: Seen, *, dir_fd: int) -> None:
    """Refuses a log that is not the planned one, or has a second name, by now."""
    if not log.is_same_file(_regular(os.path.basename(log.path), dir_fd)):
        raise Refused(
            f"{names.printable(log.path)} is not the file that was planned any more: somebody else replaced or cut it"
        )


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


def publish(temporary: str, name: str, descriptor: int, *, dir_fd: int) -> None:
    """Gives a whole, synced temporary its final name, and makes that durable. FileExistsError if the name is taken.

    `descriptor` is of the file that was written: Refused if the name got another one, because somebody meddled.
    """
    rename_noreplace(temporary, name, old_dir=dir_fd, new_dir=dir_fd)
    os.fsync(dir_fd)
    if not os.path.samestat(os.fstat(descriptor), os.lstat(name, dir_fd=dir_fd)):
        raise Refused(
            f"the temporary of {names.printable(name)} was replaced by somebody else while it was written",
            hint="is another maintd at work on this directory, with another state_dir?",
        )


def remove(file: Seen, *, dir_fd: int) -> None:
    """Removes the planned file for good, and only that one: Refused if the name now means another, or it changed."""
    name = os.path.basename(file.path)
    if not file.is_unchanged(_regular(name, dir_fd)):
        raise Refused(f"{names.printable(file.path)} has changed since it was planned, and was left alone")
    os.unlink(name, dir_fd=dir_fd)
    os.fsync(dir_fd)


def discard(name: str, *, dir_fd: int) -> None:
    """Removes a temporary of ours, if it is there."""
    if not name.endswith(names.TEMPORARY):
        raise Refused(f"{names.printable(name)} is not a temporary of maintd")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=dir_fd)


def make_directory(name: str, ownership: Ownership, *, dir_fd: int) -> None:
    """Makes a directory for archives, durable. FileExistsError if the name is taken.

    In a confined process it is made as whom it is for and with its mode at once: whoever could put another directory
    in its place meanwhile would have that one changed.
    """
    if confinement.is_confined():
        before = os.umask(0)
        os.mkdir(name, ownership.mode, dir_fd=dir_fd)
        os.umask(before)
    else:
        os.mkdir(name, 0o700, dir_fd=dir_fd)
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            dress(descriptor, ownership)
        finally:
            os.close(descriptor)
    os.fsync(dir_fd)


def private_directory(path: str) -> None:
    """Makes `path` (and what is missing above it) for maintd's own files, with mode 0700.

    One that exists stays as it is.

    Raises Refused if it is no directory, or one in which other users could make or replace files.
    """
    parent = os.path.dirname(path.rstrip("/"))
    if not os.path.isdir(parent):
        os.makedirs(parent, 0o755, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    if not os.path.isdir(path):
        raise Refused(f"{path} is not a directory", hint="move it away, or set another directory under [daemon]")
    info = os.stat(path)
    if info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise Refused(
            f"{path} belongs to another user, or others can write it",
            hint="set a directory of its own under [daemon], owned by the user that maintd runs as (chmod 700)",
        )


def lock_file(path: str) -> int:
    """Opens (and makes, if need be) the file whose flock says that a maintd is at work; returns its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def write_pid(descriptor: int) -> None:
    """Writes this process's pid into the lock file, for people who look who holds it; not on a full disk."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _regular(name: str, dir_fd: int) -> os.stat_result:
    info = os.lstat(name, dir_fd=dir_fd)
    if not st.S_ISREG(info.st_mode):
        raise Refused(f"{names.printable(name)} is not a regular file any more")
    require_plain(name, info)
    return info


def require_plain(path: str, info: os.stat_result) -> None:
    """Refuses a file with hard links, which may be another user's, or in use, under its other names; or with set-id."""
    oddity = Seen.of(path, info).oddity
    if oddity:
        raise Refused(f"{names.printable(path)}: {oddity}", hint="look at where it comes from, then remove that")


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


def opened_to_change(name: str, *, dir_fd: int) -> int:
    """A descriptor for reading and changing a regular file in place; a link is refused and a FIFO does not hang."""
    descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    if not st.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(f"{names.printable(name)} is not a regular file any more")
    return descriptor


def overwrite(descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of `data` at `offset`, durable."""
    add(descriptor, data, offset)
    os.fdatasync(descriptor)


def add(descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of `data` at `offset`; syncs nothing."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def collapse(log: int, end: int, length: int) -> None:
    """Takes the `length` bytes before `end` out of a log that is being appended to: what follows moves down.

    Both are whole blocks, and `end` lies before the end of the file (fallocate(2), FALLOC_FL_COLLAPSE_RANGE). The
    kernel drops the cached rest of the file while writers wait, which takes long where that is dirty: so it is synced
    and dropped first.
    """
    os.fdatasync(log)
    os.posix_fadvise(log, end - length, 0, os.POSIX_FADV_DONTNEED)
    collapse_range(log, end - length, length)


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
