"""Directories: opened without a link in their path, made and removed durably, private ones, and whole trees of ours."""

import contextlib
import errno
import os
import stat as st
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from maintd import confinement, names
from maintd.durable.files import Ownership, dress, require_inode
from maintd.errors import Refused
from maintd.linux import open_beneath, rename_noreplace


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


def make_path(path: str, mode: int, known: Mapping[str, Ownership] = MappingProxyType({})) -> None:
    """Makes what is missing of a directory and of those above it; no link among them is followed.

    Those that are `known`, by path, get that owner and mode.
    """
    above = os.path.dirname(path)
    try:
        os.close(open_beneath(path, os.O_RDONLY | os.O_DIRECTORY))
    except FileNotFoundError:
        make_path(above, mode, known)
        with directory(above) as dir_fd, contextlib.suppress(FileExistsError):
            if path in known:
                make_directory(os.path.basename(path), known[path], dir_fd=dir_fd)
            else:
                os.mkdir(os.path.basename(path), mode, dir_fd=dir_fd)
                os.fsync(dir_fd)


def publish_directory(temporary: str, name: str, *, dir_fd: int) -> None:
    """Gives a whole directory, whose files are synced, its final name, durable. FileExistsError if that is taken."""
    inside = _opened_directory(temporary, dir_fd)
    try:
        os.fsync(inside)
    finally:
        os.close(inside)
    rename_noreplace(temporary, name, old_dir=dir_fd, new_dir=dir_fd)
    os.fsync(dir_fd)


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
