"""What a child gives up before it works where others can write: its user, and writing outside those directories."""

import os
from dataclasses import asdict, replace
from typing import Any, Self

from maintd import linux
from maintd.errors import Refused
from maintd.names import printable
from maintd.values import dataclass

_KEPT = (0, 1, 2, 3, 4, 28)
"""CAP_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER, _FSETID, _LEASE (capabilities(7)); another user has none."""

OTHERS = 64
"""Descriptors for all else that a child has open beside its directories."""

_held: dict[str, int] = {}
"""The directories of this process by path, if it is confined: opened before it gave up its rights."""


@dataclass(frozen=True)
class Confinement:
    """The only directories in which a child works, as (path, device, inode), and as whom: None for what maintd is.

    `fenced` asks for Landlock, where the kernel has it, and for no more capabilities than work on files takes; `moves`
    says that files may be renamed from one directory to another, which not every kernel with Landlock can fence.
    """

    directories: tuple[tuple[str, int, int], ...]
    uid: int | None = None
    gid: int | None = None
    fenced: bool = True
    moves: bool = True

    def seeing(self) -> Self:
        """The same directories, by descriptors alone: who is fenced, or another user, sees nobody's open files."""
        return replace(self, uid=None, gid=None, fenced=False)

    @property
    def is_seeing(self) -> bool:
        return self.uid is None and not self.fenced

    def fields(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """What `fields` gave, also after it went through JSON."""
        return cls(**fields | {"directories": tuple((path, dev, ino) for path, dev, ino in fields["directories"])})

    def enter(self) -> None:
        """Confines this process for good. It must have one thread, and serve nothing else afterwards.

        Raises Refused if a directory is not the one that was looked at.
        """
        linux.allow_descriptors(len(self.directories) + OTHERS)
        try:
            self._hold()
        except BaseException:
            while _held:  # to say why takes a descriptor
                os.close(_held.popitem()[1])
            raise
        if self.gid is not None:
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
        if self.uid is not None:
            linux.be_unreachable()
            os.setresuid(self.uid, self.uid, self.uid)
            linux.be_unreachable()  # a change of uid sets it to fs.suid_dumpable (proc_sys_fs(5))
        if self.fenced:
            linux.fence(tuple(_held.values()), moves=self.moves)
            linux.keep_capabilities(_KEPT)

    def _hold(self) -> None:
        for path, dev, ino in self.directories:
            descriptor = linux.open_beneath(path, os.O_RDONLY | os.O_DIRECTORY)
            _held[path] = descriptor
            info = os.fstat(descriptor)
            if (info.st_dev, info.st_ino) != (dev, ino):
                raise Refused(f"{printable(path)} was replaced by another directory at this moment")


def held(path: str) -> int | None:
    """The descriptor of a directory that this process is confined to; None if it is no such directory."""
    return _held.get(path)


def is_confined() -> bool:
    """Whether this process was confined to some directories."""
    return bool(_held)
