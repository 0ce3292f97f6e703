"""Every way maintd changes the disk. Nothing else may.

The order is always: write a temporary beside the target, fsync it, rename it without replacing, fsync the directory,
and only then remove what it stands for. All names are relative to a directory descriptor, so that nobody who swaps a
directory for a link can lead a root process elsewhere (CVE-2011-1548, 'logrotten').
"""

import contextlib
import errno
import fcntl
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
            raise Refused(f"{names.printable(name)} is not a regular file")
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


_ACL = "system.posix_acl_"


def copy_attributes(source: int, target: int) -> None:
    """Gives `target` the owner, mode, extended attributes and times of `source`.

    An attribute that the file system or the caller's rights do not allow (`security.*` without CAP_SYS_ADMIN) is left
    out; `ENOTSUP` means that there are none.
    """
    info = os.fstat(source)
    dress(target, Ownership(st.S_IMODE(info.st_mode), info.st_uid, info.st_gid))
    copy_extended(source, target)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))


def set_times(descriptor: int, info: os.stat_result) -> None:
    """Gives a file the times of another."""
    os.utime(descriptor, ns=(info.st_atime_ns, info.st_mtime_ns))


def set_mtime(descriptor: int, mtime_ns: int) -> None:
    """Gives a file that mtime, in nanoseconds since the epoch."""
    os.utime(descriptor, ns=(mtime_ns, mtime_ns))


def copy_extended(source: int, target: int, *, acl: bool = True) -> None:
    """Gives `target` the extended attributes of `source`, labels and, if wanted, access control lists among them."""
    for attribute in _attributes(source):
        if attribute.startswith(_ACL) and not acl:
            continue
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


def move(name: str, new: str, inode: Sequence[int] | None, *, dir_fd: int, new_fd: int) -> None:
    """Renames a file that no job of maintd's own made, of any kind and with any links, to a name that is free.

    Refused if the name means another (device, inode) than the planned one by now; None is one that this plan made.
    """
    require_inode(name, inode, dir_fd=dir_fd)
    rename_noreplace(name, new, old_dir=dir_fd, new_dir=new_fd)


def unlink(name: str, inode: Sequence[int] | None, *, dir_fd: int) -> None:
    """Removes a file, also one with hard links or changed since. Refused if the name means another inode by now."""
    require_inode(name, inode, dir_fd=dir_fd)
    os.unlink(name, dir_fd=dir_fd)


def require_inode(name: str, inode: Sequence[int] | None, *, dir_fd: int) -> None:
    """Refuses a file, or a directory, that is not the planned one, by (device, inode); None is any."""
    info = os.lstat(name, dir_fd=dir_fd)
    if inode is not None and [info.st_dev, info.st_ino] != list(inode):
        raise Refused(f"{names.printable(name)} is another file than was planned by now, and was left alone")


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


def replace(temporary: str, name: str, *, dir_fd: int) -> None:
    """Gives a whole, synced temporary the name of the file that it stands for, durable: for state, never for logs."""
    os.rename(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    os.fsync(dir_fd)


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


def remove(file: Seen, *, dir_fd: int) -> None:
    """Removes the planned file, and only that one: Refused if the name now means another, or it changed.

    It syncs nothing, so that nobody who waits for a lease on the file waits for the disk: that is for the caller.
    """
    name = os.path.basename(file.path)
    if not file.is_unchanged(_regular(name, dir_fd)):
        raise Refused(f"{names.printable(file.path)} has changed since it was planned, and was left alone")
    os.unlink(name, dir_fd=dir_fd)


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


def remove_directory(name: str, inode: Sequence[int], *, dir_fd: int) -> bool:
    """Removes a directory if nothing is in it (rmdir(2)), and says whether it did; Refused if it is another by now."""
    require_inode(name, inode, dir_fd=dir_fd)
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def make_directories(path: str) -> None:
    """Makes a directory for what is brought back, and what is missing above it; no link is followed on the way."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        make_directories(parent)
    with directory(parent) as dir_fd:
        try:
            os.mkdir(os.path.basename(path), 0o755, dir_fd=dir_fd)
        except FileExistsError:
            return
        os.fsync(dir_fd)


def make_private(name: str, *, dir_fd: int) -> None:
    """Makes a directory that only maintd's user can enter, durable. FileExistsError if the name is taken."""
    os.mkdir(name, 0o700, dir_fd=dir_fd)
    os.fsync(dir_fd)


def make_path(path: str, mode: int) -> None:
    """Makes what is missing of a directory and of those above it; no link among them is followed."""
    above = os.path.dirname(path)
    try:
        os.close(open_beneath(path, os.O_RDONLY | os.O_DIRECTORY))
    except FileNotFoundError:
        make_path(above, mode)
        with directory(above) as dir_fd, contextlib.suppress(FileExistsError):
            os.mkdir(os.path.basename(path), mode, dir_fd=dir_fd)
            os.fsync(dir_fd)


def unlink_own(name: str, *, dir_fd: int) -> None:
    """Removes a file that this process, or one that was cut off, has just made in a directory of its own, if any."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=dir_fd)


def publish_directory(temporary: str, name: str, *, dir_fd: int) -> None:
    """Gives a whole directory, whose files are synced, its final name, durable. FileExistsError if that is taken."""
    inside = _opened_directory(temporary, dir_fd)
    try:
        os.fsync(inside)
    finally:
        os.close(inside)
    rename_noreplace(temporary, name, old_dir=dir_fd, new_dir=dir_fd)
    os.fsync(dir_fd)


def link(name: str, *, dir_fd: int, new_fd: int) -> None:
    """Gives a file a second name, the same one, in another directory."""
    os.link(name, name, src_dir_fd=dir_fd, dst_dir_fd=new_fd, follow_symlinks=False)


def remove_empty(path: str) -> bool:
    """Removes a directory if nothing is in it, durable; says whether it is gone."""
    with directory(os.path.dirname(path)) as dir_fd:
        try:
            os.rmdir(os.path.basename(path), dir_fd=dir_fd)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            return False
        os.fsync(dir_fd)
        return True


def discard_tree(name: str, *, dir_fd: int) -> None:
    """Removes a directory of ours that is being made or taken away, with all in it, if it is there.

    It is walked by descriptors, and no link is followed. Raises Refused for a name that is no temporary of ours.
    """
    if not name.endswith(names.TEMPORARY):
        raise Refused(f"{names.printable(name)} is not a temporary of maintd")
    with contextlib.suppress(FileNotFoundError):
        _remove_below(name, dir_fd)
        os.fsync(dir_fd)


def _remove_below(name: str, dir_fd: int) -> None:
    inside = _opened_directory(name, dir_fd)
    try:
        for entry in os.listdir(inside):
            if st.S_ISDIR(os.lstat(entry, dir_fd=inside).st_mode):
                _remove_below(entry, inside)
            else:
                os.unlink(entry, dir_fd=inside)
    finally:
        os.close(inside)
    os.rmdir(name, dir_fd=dir_fd)


def _opened_directory(name: str, dir_fd: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


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


def group_directory(path: str, gid: int) -> None:
    """Makes `path` as private_directory does, then lets a group enter it and list it, and nobody else (0750)."""
    private_directory(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, -1, gid)
        os.fchmod(descriptor, 0o750)
    finally:
        os.close(descriptor)


def lock_file(path: str, mode: int = 0o600) -> int:
    """Opens (and makes, if need be) the file whose flock says that a maintd is at work; returns its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def write_pid(descriptor: int) -> None:
    """Writes this process's pid into the lock file, for people who look who holds it; not on a full disk."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _regular(name: str, dir_fd: int) -> os.stat_result:
    info = os.lstat(name, dir_fd=dir_fd)
    if not st.S_ISREG(info.st_mode):
        raise Refused(f"{names.printable(name)} is not a regular file")
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
        raise Refused(f"{names.printable(name)} is not a regular file")
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


def append(name: str, data: bytes, ownership: Ownership, *, dir_fd: int) -> None:
    """Adds whole lines to a file of maintd's, which is made if need be, durable: all of them, or on failure none.

    It is locked meanwhile (flock(2)), against others who add. A last line that a crash has torn is ended first.
    """
    while not _appended(name, data, ownership, dir_fd):
        pass  # whoever had made the file could not give it its owner, and took it back


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
        fcntl.flock(descriptor, fcntl.LOCK_EX)
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
