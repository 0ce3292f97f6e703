"""Files: made under a temporary name, synced, published without replacing anything, and removed if they are those."""

import contextlib
import os
import stat as st
from collections.abc import Iterator, Sequence

from maintd import names
from maintd.errors import NotYet, Refused
from maintd.linux import rename_noreplace
from maintd.steps import Seen
from maintd.values import dataclass


@dataclass(frozen=True)
class Ownership:
    """Mode bits, uid and gid of a file to be made."""

    mode: int
    uid: int
    gid: int


@contextlib.contextmanager
def opened(name: str, *, dir_fd: int) -> Iterator[int]:
    """A descriptor for reading a regular file; a link is refused and a FIFO does not hang. NotYet if it is leased."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    except BlockingIOError as error:  # F_SETLEASE in fcntl(2): its holder is asked, and may take 45 s
        raise NotYet(f"{names.printable(name)} is open in another process, which holds a lease on it") from error
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


def unlink_own(name: str, *, dir_fd: int) -> None:
    """Removes a file that this process, or one that was cut off, has just made in a directory of its own, if any."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=dir_fd)


def link(name: str, new: str, *, dir_fd: int, new_fd: int) -> None:
    """Gives a file a second name, which takes no block of a disk that is full."""
    os.link(name, new, src_dir_fd=dir_fd, dst_dir_fd=new_fd, follow_symlinks=False)


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
