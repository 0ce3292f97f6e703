"""The plain values of planning: Seen, Finding, Action, Step, Plan, Outcome."""

import os
import stat as st
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Self

from maintd.events import Event, Failure
from maintd.room import Aim
from maintd.values import dataclass

if TYPE_CHECKING:
    from maintd.actions.hands import Hands


class Lane(StrEnum):
    """Jobs in one lane run one at a time. `rotate` holds nothing that takes over a second.

    `stanzas` is for logrotate's, all steps of which are done there in their order, long and short.
    `guard` is a queue of its own for what cannot wait behind long work; its runs hold the other lanes.
    `programs` is for starting and stopping programs, which waits for them and holds up nothing else.
    """

    ROTATE = "rotate"
    HEAVY = "heavy"
    STANZAS = "stanzas"
    GUARD = "guard"
    PROGRAMS = "programs"


class Outcome(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Seen:
    """A file as it was when the plan was made; sizes in bytes, times in nanoseconds since the epoch."""

    path: str
    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    mode: int
    uid: int
    gid: int
    nlink: int = 1

    @classmethod
    def of(cls, path: str, stat: os.stat_result) -> Self:
        return cls(
            path,
            stat.st_dev,
            stat.st_ino,
            stat.st_size,
            stat.st_mtime_ns,
            stat.st_ctime_ns,
            stat.st_mode,
            stat.st_uid,
            stat.st_gid,
            stat.st_nlink,
        )

    @property
    def oddity(self) -> str:
        """What no log, and nothing that maintd set aside, should have, or nothing."""
        if self.nlink != 1:
            return f"it has {self.nlink} names (hard links)"
        is_set_id = self.mode & st.S_ISUID or self.mode & (st.S_ISGID | st.S_IXGRP) == st.S_ISGID | st.S_IXGRP
        return "it has a set-id bit" if is_set_id else ""

    @property
    def inode(self) -> tuple[int, int]:
        return self.dev, self.ino

    def is_same_file(self, stat: os.stat_result) -> bool:
        """Whether `stat` is of the same inode and owner, grown or not, but never smaller: what a live log may do."""
        return (stat.st_dev, stat.st_ino, stat.st_uid) == (*self.inode, self.uid) and stat.st_size >= self.size

    def is_unchanged(self, stat: os.stat_result) -> bool:
        """Whether `stat` is of the same inode and owner with the same content, as far as size and times can tell."""
        return self.is_same_file(stat) and (stat.st_size, stat.st_mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something seen that changes nothing; `event` is what the daemon says about it, if it is worth an event.

    `is_put_off` says that something due was not planned because of it, so that the run counts it and is tried again;
    `is_deferred`, that it is planned by the run for the other lane, which follows; `is_refused`, that it is left
    undone until somebody corrects what is wrong with it.
    """

    target: str
    reason: str
    event: Event | None = None
    is_put_off: bool = False
    is_deferred: bool = False
    is_refused: bool = False

    @property
    def fails(self) -> bool:
        """Whether a run counts it as a failure: it keeps the job from its work."""
        return isinstance(self.event, Failure)


@dataclass(frozen=True, kw_only=True)
class Action:
    """One change, with its reason. Its `needs` are earlier actions of the plan without which it is omitted.

    Subclasses say what they do in `verb` and `detail`, in which lane they run, and yield the events of what they did
    from `apply`. Neighbours may be done at the same time, so many as are `parallel`. An action
    that destroys carries a Seen and raises Refused if the file is no longer that one.
    """

    verb: ClassVar[str]
    failure: ClassVar[type[Failure]]
    lane: ClassVar[Lane] = Lane.HEAVY
    parallel: ClassVar[int] = 1
    concludes: ClassVar[bool] = False
    """Whether it is done also when the run was told to stop: it writes down what was done."""

    is_harmless: ClassVar[bool] = False
    """Whether it changes nothing but what maintd remembers, so that a job that only observes does it too."""

    relieves: ClassVar[bool] = False
    """Whether it leaves the log that is its target empty, or another one in its place."""

    target: str
    reason: str
    needs: tuple["Action", ...] = ()
    goal: Aim | None = None
    """What it is for, if it is left out once that is met; what needs it is left out with it."""
    giver: str = ""
    """The job whose share of files that may go it takes, if it is a guard that deletes one."""

    is_one_of_many: ClassVar[bool] = False
    """Whether a plan may have hundreds of it that fail alike, though they have no `common_place`."""

    @property
    def detail(self) -> str:
        """What comes of it, for people: a new name, a command."""
        return ""

    @property
    def runs(self) -> tuple[str, ...]:
        """The argv list of the command that it runs, if that is what it does."""
        return ()

    @property
    def what(self) -> str:
        """What the verb is about, in the message that it failed, beside the target."""
        return "it"

    @property
    def common_place(self) -> str:
        """What it needs as other steps do: the archive they go to, the directory they delete in; or nothing."""
        return ""

    @property
    def in_bytes(self) -> int | None:
        """How many bytes it is about, as planned; None where bytes do not count."""
        return None

    def is_possible(self, done: AbstractSet[int]) -> bool:
        """Whether what it needs was done; `done` are the id() of the plan's actions that were."""
        return all(id(need) in done for need in self.needs)

    def apply(self, hands: "Hands") -> Iterator[Event]:
        """Makes the change and yields what happened; raises OSError or MaintdError if it could not."""
        raise NotImplementedError


Step = Finding | Action
Plan = tuple[Step, ...]
