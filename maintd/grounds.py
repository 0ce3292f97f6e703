"""Directories as a walk down from / finds them, by descriptors: who besides root could change one, or the way to it.

It asks of each directory who can rename what is in it: its owner; and whoever can write it, unless it is sticky and
what leads on is root's. The rule about owners is systemd's (path_is_safe, unsafe_transition): what lies in a directory
of user A counts as A's, so nothing of another user's is trusted below it.
"""

import errno
import os
import pwd
import stat as st

from maintd.names import printable
from maintd.values import dataclass

_OTHERS = st.S_IWGRP | st.S_IWOTH
_LINKS = 40


@dataclass(frozen=True)
class Ground:
    """A directory as a walk from / found it: `meddler` could change it or the way to it, "" if root alone can.

    `broken` says where, above it, a directory of one user holds one of another's: that user could put any in its place.
    """

    path: str
    dev: int
    ino: int
    uid: int
    gid: int
    mode: int
    meddler: str = ""
    broken: str = ""

    @property
    def is_open(self) -> bool:
        """Whether others than its owner can make files in it."""
        return bool(self.mode & _OTHERS)


def survey(path: str) -> Ground:
    """Walks down to a directory. OSError if it is none; ELOOP if a part of `path` is a symbolic link."""
    info, meddler, broken = _walk(path)
    meddler = meddler or _meddler(info, None)
    return Ground(path, info.st_dev, info.st_ino, info.st_uid, info.st_gid, info.st_mode, meddler, broken)


def _walk(path: str) -> tuple[os.stat_result, str, str]:
    """The directory, who could put another in its place, and where the owners above it break off."""
    current = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    info, reached = os.fstat(current), "/"
    meddler = broken = ""
    try:
        for part in filter(None, path.split("/")):
            deeper = _entered(part, current, path)
            os.close(current)
            current = deeper
            above, info = info, os.fstat(current)
            reached = os.path.join(reached, part)
            meddler = meddler or _meddler(above, info)
            if above.st_uid not in (0, info.st_uid) and not broken:
                broken = (
                    f"{printable(reached)} is {user_name(info.st_uid)}'s, in a directory of {user_name(above.st_uid)}'s"
                )
    finally:
        os.close(current)
    return info, meddler, broken


def _entered(part: str, dir_fd: int, path: str) -> int:
    try:
        return os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    except NotADirectoryError:
        if st.S_ISLNK(os.lstat(part, dir_fd=dir_fd).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
        raise


def _meddler(directory: os.stat_result, entry: os.stat_result | None) -> str:
    """Who besides root could rename `entry`, or anything if that is None, in this directory."""
    if directory.st_uid != 0:
        return user_name(directory.st_uid)
    if not directory.st_mode & _OTHERS:
        return ""
    if directory.st_mode & st.S_ISVTX and entry is not None:
        return user_name(entry.st_uid) if entry.st_uid else ""
    return "anybody" if directory.st_mode & st.S_IWOTH else f"group {directory.st_gid}"


def user_name(uid: int) -> str:
    """What a user is called by people."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def is_member(uid: int, gid: int) -> bool:
    """Whether a user, who has an account here, is of that group."""
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        return False
    return gid in os.getgrouplist(account.pw_name, account.pw_gid)


def identity(directory: str) -> tuple[int, int] | None:
    """The device and inode of a directory that is there, for a plan that is about this very one."""
    try:
        info = os.stat(directory)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def mount(directory: str) -> int | None:
    """The mount that a directory is reached by, None if it is gone: rename(2) gets from none to another (EXDEV)."""
    try:
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith(b"mnt_id:")), None)
    finally:
        os.close(descriptor)


def is_shared(directory: str) -> bool:
    """Whether others than root could meddle with a directory; False if it is gone."""
    try:
        return bool(survey(directory).meddler)
    except OSError:
        return False


def real(path: str) -> str:
    """As os.path.realpath, which fails if what was a symbolic link a moment ago is none: then the path as it is."""
    try:
        return os.path.realpath(path)
    except OSError:
        return os.path.abspath(path)


def resolve(path: str) -> str:
    """A directory's path without its symbolic links, as far as root may follow them; opening it refuses the others.

    A link is followed if root alone could have put it there, or if it leads to a directory of the user it belongs to,
    who is not root: such a user can lead root to nothing but its own.
    """
    path = path if path.startswith("/") else os.path.join(os.getcwd(), path)
    found = real(path)
    if os.geteuid() != 0 or found == os.path.normpath(path):
        return found
    current, rest, links = "/", path.split("/")[::-1], 0
    theirs: set[int] = set()
    while rest and links <= _LINKS:
        part = rest.pop()
        if part in ("", ".", ".."):
            current = os.path.dirname(current) if part == ".." else current
            continue
        link = os.path.join(current, part)
        try:
            info, target = os.lstat(link), os.readlink(link)
        except OSError:  # EINVAL: it is no link
            current = link
            continue
        links += 1
        try:
            directory, meddler, _ = _walk(current)
        except OSError:  # somebody changes it now
            return os.path.normpath(path)
        if meddler or _meddler(directory, info):
            theirs.add(info.st_uid)
        current = "/" if target.startswith("/") else current
        rest.extend(reversed(target.split("/")))
    return current if not theirs or theirs == {_owner_of(current)} - {0} else os.path.normpath(path)


def _owner_of(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None
