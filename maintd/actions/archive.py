"""Putting files away into an archive: each is whole there, read back and listed, before it goes from where it was."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any, ClassVar

from maintd import moves, names, trust, whereabouts
from maintd.actions.hands import Hands
from maintd.actions.rename import MakeDirectory
from maintd.confinement import Confinement
from maintd.errors import MaintdError, NotYet, Refused
from maintd.events import Event, Failure
from maintd.inventory import Entry
from maintd.steps import Action, Lane, Seen
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class FileArchived(Event):
    """A file was put away into an archive, read back and listed there, and, unless its job says otherwise, removed."""

    name: ClassVar[str] = "file.archived"

    archived_to: str
    codec: str
    in_bytes: int
    out_bytes: int | None
    sha256: str
    reason: str

    @property
    def msg(self) -> str:
        return f"archived to {self.archived_to}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class ArchiveFailed(Failure):
    """A file could not be archived. It is where it was, and is tried again."""

    name: ClassVar[str] = "archive.failed"


@dataclass(frozen=True, kw_only=True)
class ArchiveGone(ArchiveFailed):
    """The same for all files, since the archive is not where it was."""

    is_repetitive: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class MakeArchiveDirectory(MakeDirectory):
    """Makes the directory of an archive, or one on the way to it; only root writes one of root's."""

    failure: ClassVar[type[Failure]] = ArchiveFailed
    lane: ClassVar[Lane] = Lane.HEAVY
    of_roots: ClassVar[int] = 0o755


@dataclass(frozen=True, kw_only=True)
class PutAway(Action):
    """Puts one file away into an archive, as `stored`. `at` is when, as RFC 3339; with `keeps` it also stays.

    If it has the content that is `listed` already, only its line is made anew.
    """

    failure: ClassVar[type[Failure]] = ArchiveFailed
    parallel: ClassVar[int] = 4  # each waits for the disk, or the network, more than half of its time

    seen: Seen
    stored: str
    codec: str
    level: int | None
    at: str
    job: str
    keeps: bool = False
    listed: Entry | None = None

    @property
    def in_bytes(self) -> int:
        return self.seen.size

    def request(self, root: str) -> dict[str, Any]:
        """What the child is asked, as storing.Request reads it."""
        return {
            "seen": asdict(self.seen),
            "root": root,
            "name": self.stored,
            "codec": self.codec,
            "level": self.level,
            "at": self.at,
            "why": self.reason,
            "job": self.job,
            "keeps": self.keeps,
            "listed": asdict(self.listed) if self.listed else None,
        }

    def archived(self, made: dict[str, Any]) -> Iterator[Event]:
        """What the child's answer comes to."""
        if not made["is_listed"]:
            yield FileArchived(
                target=self.target,
                archived_to=self.detail,
                codec=self.codec,
                in_bytes=made["in_bytes"],
                out_bytes=made["out_bytes"],
                sha256=made["sha256"],
                reason=self.reason,
            )


@dataclass(frozen=True, kw_only=True)
class ArchiveFile(PutAway):
    """Moves one file into the archive `root`, a directory; `private` is maintd's own for it."""

    verb: ClassVar[str] = "archive"

    root: str
    private: str

    @property
    def detail(self) -> str:
        return os.path.join(self.root, self.stored)

    @property
    def common_place(self) -> str:
        return self.root

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        request = self.request(self.root)
        within = trust.confinement([os.path.dirname(self.target), os.path.dirname(self.detail), self.root], self.seen)
        try:
            made = hands.call("maintd.storing:store_file", self, within, request=request)
        except (Refused, NotYet):
            raise
        except MaintdError:
            self._tidy(hands, within)
            raise
        whereabouts.note(self.private)
        yield from self.archived(made)

    def _tidy(self, hands: Hands, within: Confinement | None) -> None:
        """Removes the temporary of a child that was killed."""
        directory, name = os.path.split(self.detail)
        with suppress(OSError, MaintdError):
            hands.work(moves.tidy, within, path=os.path.join(directory, names.temporary(name)), beside=None)
