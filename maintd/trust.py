"""As whom, and where, root's work is done in directories that others can write; and which files it leaves alone."""

import errno
import os
import stat as st
from collections.abc import Iterable, Sequence
from typing import ClassVar

from maintd import capabilities, linux
from maintd.confinement import Confinement
from maintd.errors import Refused
from maintd.events import Event
from maintd.grounds import Ground, survey, user_name
from maintd.names import printable
from maintd.steps import Finding, Seen
from maintd.values import dataclass


@dataclass(frozen=True)
class Refusal:
    """Why a file is left alone, and what would change that."""

    reason: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class FileRefused(Event):
    """A file is neither compressed nor deleted, because of its owner, its links, or the way to it.

    Told once an hour.
    """

    name: ClassVar[str] = "file.refused"
    level: ClassVar[str] = "warning"
    is_repetitive: ClassVar[bool] = True

    reason: str
    advice: str

    @property
    def msg(self) -> str:
        return f"left alone: {self.reason}; {self.advice}"

    @property
    def core(self) -> str:
        return self.msg


def confinement(
    directories: Iterable[str], file: Seen | None = None, gid: int | None = None, *, moves: bool = True
) -> Confinement | None:
    """How root's work in these directories is to be confined; None if no other user could meddle with it.

    `file` is what the work is about, where what is made for it gets its owner too, and `gid` the group of that if it is
    another. If file and directories are of one user, who is not root, the work is done as that user; otherwise as root.
    `moves` False promises that nothing is renamed from one of them to another.
    """
    if os.geteuid() != 0:  # the kernel itself sees to it that this user can do no more than it may
        return None
    grounds = [survey(path) for path in dict.fromkeys(directories)]
    if not any(ground.meddler for ground in grounds):
        return None
    if file is not None and _is_all_of(file, grounds) and capabilities.may_become_others():
        return Confinement(_places(grounds), file.uid, file.gid if gid is None else gid, moves=moves)
    return Confinement(_places(grounds), moves=moves)


def to_make_directory(parent: Ground, uid: int, gid: int) -> Confinement | None:
    """How making a directory for that owner is to be confined; Refused if another could exchange it meanwhile."""
    if os.geteuid() != 0 or not parent.meddler:
        return None
    if uid not in (0, parent.uid):
        found = _in_another_users(parent)
        raise Refused(found.reason, hint=found.advice)
    return Confinement(_places([parent]), uid or None, gid)


def _places(grounds: Iterable[Ground]) -> tuple[tuple[str, int, int], ...]:
    return tuple((ground.path, ground.dev, ground.ino) for ground in grounds)


def _is_all_of(file: Seen, grounds: Sequence[Ground]) -> bool:
    """Whether all is of one user, who can read the file and write the directories."""
    are_its = all(ground.uid == file.uid and ground.mode & st.S_IRWXU == st.S_IRWXU for ground in grounds)
    return are_its and file.uid != 0 and bool(file.mode & st.S_IRUSR)


class Judge:
    """Says which files are to be left alone, for one plan: each directory is looked at once."""

    def __init__(self) -> None:
        self._grounds: dict[str, Ground | Refusal] = {}

    def refusal(self, seen: Seen, *directories: str, expected: Iterable[int | None] = ()) -> Refusal | None:
        """Why a file is not to be worked on in its directory and others, which need not exist yet; None if it may be.

        `expected` are users to whom it may belong (None: nobody), besides root, its directory's owner, and whoever can
        write that.
        """
        if seen.oddity:
            return Refusal(seen.oddity, "look at where it comes from, then remove that")
        if os.geteuid() != 0:
            return None
        own = self._existing(os.path.dirname(seen.path))
        if isinstance(own, Refusal):
            return own
        return _of_owner(seen, own, expected) or next(filter(None, map(self._of_way, {own.path, *directories})), None)

    def finding(self, seen: Seen, expected: Iterable[int | None] = ()) -> Finding | None:
        """The refusal of a file that would be compressed or deleted."""
        found = self.refusal(seen, expected=expected)
        if found is None:
            return None
        event = FileRefused(target=seen.path, reason=found.reason, advice=found.advice)
        return Finding(target=seen.path, reason=f"left alone: {found.reason}; {found.advice}", event=event)

    def makeable(self, directory: str, uid: int | None) -> Refusal | None:
        """Why a directory that is missing cannot be made for that owner, None for the one of what it lies in."""
        ground = self._existing(directory)
        if isinstance(ground, Refusal):
            return ground
        is_safe = os.geteuid() != 0 or not ground.meddler or uid in (None, 0, ground.uid)
        return None if is_safe else _in_another_users(ground)

    def _of_way(self, directory: str) -> Refusal | None:
        ground = self._existing(directory)
        if isinstance(ground, Refusal):
            return ground
        if ground.broken and not linux.landlock_abi():
            return Refusal(
                f"{ground.broken}, who could put another directory in its place",
                "give both to one user; with Landlock in the kernel (5.13) it would be confined",
            )
        return None

    def _existing(self, directory: str) -> Ground | Refusal:
        """The ground of a directory, or of what it is to be made in."""
        if directory not in self._grounds:
            self._grounds[directory] = self._looked_at(directory)
        return self._grounds[directory]

    def _looked_at(self, directory: str) -> Ground | Refusal:
        try:
            return survey(directory)
        except OSError as error:
            if error.errno != errno.ELOOP:  # missing, or in the way: who is to make it says so
                return self._existing(os.path.dirname(directory))
            return Refusal(f"a symbolic link leads to {printable(directory)}", "name the directory itself in the job")


def _in_another_users(ground: Ground) -> Refusal:
    return Refusal(
        f"the directory for its archives would be made for another user in {printable(ground.path)}, "
        f"where {ground.meddler} could put another one in its place",
        "make it yourself",
    )


def _of_owner(seen: Seen, ground: Ground, expected: Iterable[int | None]) -> Refusal | None:
    if seen.uid in (0, ground.uid, *expected) or ground.uid == 0 or ground.is_open:
        return None
    owner = user_name(seen.uid)
    return Refusal(
        f"it belongs to {owner}, who cannot write its directory: {user_name(ground.uid)} may have moved it there",
        f'set owner = "{owner}" in the job if that is right, or give both to one user',
    )
