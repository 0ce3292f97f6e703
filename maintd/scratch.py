"""Private directories for what is there for a moment: with room for it, and so that nobody else could exchange it."""

import os
import stat as st
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from maintd import durable, grounds, linux
from maintd.durable import Ownership
from maintd.errors import Refused
from maintd.names import printable
from maintd.units import format_size


@contextmanager
def of_owner(folder: str, name: str, owner: Ownership) -> Iterator[str]:
    """A directory of that owner, for the block, in a folder of maintd's own; what a run that was killed left goes."""
    durable.private_directory(folder)
    with durable.directory(folder) as dir_fd:
        durable.discard_tree(name, dir_fd=dir_fd)
        durable.make_directory(name, owner, dir_fd=dir_fd)
        try:
            yield os.path.join(folder, name)
        finally:
            durable.discard_tree(name, dir_fd=dir_fd)


def make_anew(directory: str, *, is_fenced: bool = False) -> None:
    """A directory of our own, also in one for everybody, such as /tmp, where nobody else can then rename it.

    What is missing above it is made, for us alone. Refused where somebody else has taken the name, or could exchange
    the directory, unless root's work in it `is_fenced`, by `trust.confinement`, and Landlock is there.
    """
    parent, name = os.path.split(directory)
    durable.make_path(parent, 0o700)
    with durable.directory(parent) as dir_fd:
        _require_ours(directory, dir_fd)
        durable.discard_tree(name, dir_fd=dir_fd)
        durable.make_private(name, dir_fd=dir_fd)
        meddler = _meddler(directory, os.fstat(dir_fd).st_mode)
        if meddler and not (is_fenced and os.geteuid() == 0 and linux.landlock_abi()):
            durable.discard_tree(name, dir_fd=dir_fd)
            raise Refused(
                f"{meddler} could put another directory in the place of one that is made in {printable(parent)}",
                hint="name a directory in another one, such as /tmp, or make that one sticky (chmod +t)",
            )


def _require_ours(directory: str, dir_fd: int) -> None:
    """What another user has put under our name is neither used nor taken away."""
    with suppress(FileNotFoundError):
        owner = os.lstat(os.path.basename(directory), dir_fd=dir_fd).st_uid
        if owner != os.geteuid():
            raise Refused(
                f"{printable(directory)} is in the way: it belongs to {grounds.user_name(owner)}",
                hint="have it taken away, or name a directory in another one",
            )


def _meddler(directory: str, mode_above: int) -> str:
    """Who could exchange a directory of ours: what is read back from it decides on owners and modes of what root makes.

    Another user who asks for it in a directory of a group is taken to know that group.
    """
    if os.geteuid() == 0:
        return grounds.survey(directory).meddler
    return "anybody" if mode_above & (st.S_IWOTH | st.S_ISVTX) == st.S_IWOTH else ""


def require_space(directory: str, size: int, hint: str) -> None:
    """Refused if there are not so many bytes free for a restore."""
    info = os.statvfs(directory)
    if info.f_bavail * info.f_frsize < size:
        raise Refused(f"a restore takes {format_size(size)}, more than is free in {printable(directory)}", hint=hint)
