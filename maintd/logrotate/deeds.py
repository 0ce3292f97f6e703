"""The changes to names of a log's files, each as a step: renaming, removing, setting aside, making; as whom it says."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, ClassVar, TypeVar

from maintd import grounds, moves, trust, writers
from maintd.actions.hands import Hands
from maintd.actions.rename import DirectoryMade, LogRotated, SetAside
from maintd.confinement import Confinement
from maintd.durable import Ownership
from maintd.errors import NotYet, Refused
from maintd.events import Event, Failure
from maintd.logrotate import work
from maintd.logrotate.stanza import Su
from maintd.names import printable
from maintd.steps import Action, Seen
from maintd.values import dataclass

Inode = tuple[int, int]
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class FileRenamed(Event):
    """An archive of a logrotate stanza got another name."""

    name: ClassVar[str] = "file.renamed"

    renamed_to: str
    reason: str

    @property
    def msg(self) -> str:
        return f"renamed to {os.path.basename(self.renamed_to)}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class FileRemoved(Event):
    """A file of a logrotate stanza was removed."""

    name: ClassVar[str] = "file.removed"

    reason: str

    @property
    def msg(self) -> str:
        return f"removed: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class LogrotateFailed(Failure):
    """A step of a logrotate stanza failed; what needs it is left out, and the log is not said to be rotated."""

    name: ClassVar[str] = "logrotate.failed"


def place(folders: list[str], su: Su | None, seen: Seen | None = None, gid: int | None = None) -> Confinement | None:
    """Where a step works, and as whom: as `su` says, else as trust.py does for root's work in these directories."""
    if su is None or os.geteuid() != 0:
        return trust.confinement(folders, file=seen, gid=gid)
    found = [grounds.survey(path) for path in dict.fromkeys(folders)]
    return Confinement(tuple((ground.path, ground.dev, ground.ino) for ground in found), su.uid, su.gid)


@dataclass(frozen=True, kw_only=True)
class Deed(Action):
    """One change to a file of a log, which is the `target`, with no link on the way to it.

    `inode` is the planned file's; None if the plan makes it. Where a rotation does not depend on that, `made` is the
    step that makes it: if that was not done, there is nothing to do.
    """

    failure: ClassVar[type[Failure]] = LogrotateFailed

    su: Su | None = None
    inode: Inode | None = None
    made: Action | None = None

    def is_void(self, hands: Hands) -> bool:
        """Whether there is no such file, because what was to make it failed."""
        return self.made is not None and id(self.made) not in hands.done

    def work(self, hands: Hands, function: Callable[..., Made], *others: str, **arguments: Any) -> Made:
        """Has quick work done in the directories of the target and of other paths."""
        hands.check()
        folders = [os.path.dirname(path) for path in (self.target, *others)]
        return hands.work(function, place(folders, self.su), path=self.target, **arguments)


@dataclass(frozen=True, kw_only=True)
class Shift(Deed):
    """Renames an archive to `to`, a path that is free by then."""

    verb: ClassVar[str] = "rename"

    to: str

    @property
    def detail(self) -> str:
        return os.path.basename(self.to)

    def apply(self, hands: Hands) -> Iterator[Event]:
        if self.is_void(hands):
            return
        self.work(hands, work.shift, self.to, to=self.to, inode=self.inode)
        yield FileRenamed(target=self.target, renamed_to=self.to, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class MakeWay(Shift):
    """Renames a file that was to be compressed, if that has failed, so that it is not what keeps its log back."""

    verb: ClassVar[str] = "displace"

    unless: Action

    def apply(self, hands: Hands) -> Iterator[Event]:
        if id(self.unless) in hands.done:
            return
        if writers.is_held(Seen.of(self.target, os.lstat(self.target))):
            raise NotYet(f"{printable(self.target)} is open in another process")
        yield from super().apply(hands)


@dataclass(frozen=True, kw_only=True)
class Remove(Deed):
    """Removes a file; `shredcycles` says how often it is overwritten before, None is not at all."""

    verb: ClassVar[str] = "delete"

    shredcycles: int | None = None

    def apply(self, hands: Hands) -> Iterator[Event]:
        if self.is_void(hands):
            return
        if self.shredcycles is not None:
            hands.check()
            within = place([os.path.dirname(self.target)], self.su)
            cycles = self.shredcycles or work.SHRED_CYCLES
            hands.call("maintd.logrotate.work:shred", self, within, path=self.target, inode=self.inode, cycles=cycles)
        self.work(hands, work.remove, inode=self.inode)
        yield FileRemoved(target=self.target, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class MakeOlddir(Deed):
    """Makes the directory of archives, with what is missing above it."""

    verb: ClassVar[str] = "mkdir"

    ownership: Ownership

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        folder, made, su = os.path.dirname(self.target), self.ownership, self.su
        if su is None or su.uid == 0 or os.geteuid() != 0:
            within = trust.to_make_directory(grounds.survey(folder), made.uid, made.gid)
        elif (made.uid, made.gid) != (su.uid, su.gid):
            who = f"uid {su.uid} and gid {su.gid}, as su says,"
            raise Refused(
                f"{who} cannot make a directory for uid {made.uid} and gid {made.gid}",
                hint="correct createolddir, or su",
            )
        else:
            within = place([folder], su)
        hands.work(moves.make_directory, within, path=self.target, parent=None, ownership=asdict(made))
        yield DirectoryMade(target=self.target, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class RotateLog(SetAside):
    """Sets a log aside and makes a new one; the target is its path without links on the way.

    After a script that `may_change` it, the log is looked at anew. `is_linked` lets it have hard links.
    """

    failure: ClassVar[type[Failure]] = LogrotateFailed

    su: Su | None = None
    may_change: bool = False
    is_linked: bool = False

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        seen = Seen.of(self.target, os.lstat(self.target)) if self.may_change else self.seen
        made = self.ownership
        folders = [os.path.dirname(self.target), os.path.dirname(self.archive)]
        file = seen if made is None or made.uid == seen.uid else None
        within = place(folders, self.su, file, made.gid if made else None)
        size = hands.work(
            work.set_aside,
            within,
            seen=asdict(seen),
            archive=self.archive,
            ownership=asdict(made) if made else None,
            is_lenient=self.is_linked or self.su is not None,
        )
        yield LogRotated(target=self.target, rotated_to=self.archive, reason=self.reason, in_bytes=size)
