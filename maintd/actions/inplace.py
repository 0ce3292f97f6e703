"""Rotating a log where it lies, for writers that cannot be told to reopen it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import ClassVar

from maintd import allocation, intents, names
from maintd.actions.hands import Hands
from maintd.actions.rename import LogRotated, RotateFailed
from maintd.errors import MaintdError
from maintd.events import Event, Failure
from maintd.intents import Way
from maintd.steps import Action, Seen
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class RotationRecovered(Event):
    """A rotation in place that was interrupted was completed, or taken back; or somebody changed the log meanwhile."""

    name: ClassVar[str] = "rotation.recovered"

    how: str
    rotated_to: str
    in_bytes: int
    out_bytes: int

    @property
    def msg(self) -> str:
        archive = os.path.basename(self.rotated_to)
        match self.how:
            case "completed":
                return f"completed an interrupted rotation to {archive}"
            case "undone":
                return "took back a rotation that was interrupted before anything had changed"
        return f"somebody changed the log since its rotation was interrupted: lines may be both in it and in {archive}"


@dataclass(frozen=True, kw_only=True)
class ArchiveLost(Event):
    """Somebody removed or replaced the archive that an interrupted rotation in place was making.

    At most `in_bytes` of the log were in it, and may have been taken out of the log by then.
    """

    name: ClassVar[str] = "archive.lost"
    level: ClassVar[str] = "error"

    rotated_to: str
    in_bytes: int

    @property
    def msg(self) -> str:
        being_made = names.temporary(os.path.basename(self.rotated_to))
        return f"somebody removed or replaced {being_made}, which an interrupted rotation was making of the log"


@dataclass(frozen=True, kw_only=True)
class RotateInPlace(Action):
    """Archives the lines of a log that is being written, and takes them out of it, in a child."""

    verb: ClassVar[str] = "rotate"
    failure: ClassVar[type[Failure]] = RotateFailed
    relieves: ClassVar[bool] = True

    seen: Seen
    archive: str
    codec: str
    level: int | None
    way: Way
    intents: str
    adopt: bool
    folder: tuple[int, int] | None = None

    @property
    def detail(self) -> str:
        same = os.path.dirname(self.archive) == os.path.dirname(self.target)
        return os.path.basename(self.archive) if same else self.archive

    @property
    def in_bytes(self) -> int:
        return self.seen.size

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        request = {
            "path": self.target,
            "seen": asdict(self.seen),
            "archive": self.archive,
            "codec": self.codec,
            "level": self.level,
            "way": self.way,
            "intents": self.intents,
            "adopt": self.adopt,
            "folder": self.folder,
            "unit": allocation.unit(self.target),
        }
        journal = intents.journal_of(self.intents, self.target)
        try:
            made = hands.call("maintd.inplace:rotate", self, request=request)
        except OSError:
            with suppress(OSError, MaintdError):  # FileNotFoundError: nothing was begun that counts
                yield from FinishInPlace(
                    target=self.target, reason=self.reason, archive=self.archive, journal=journal
                ).apply(hands)
            raise
        except MaintdError:
            with suppress(OSError, MaintdError):  # of a child that was killed; what counts is for the next run
                intents.undo(journal)
            raise
        archive = made.pop("archive")
        yield LogRotated(target=self.target, rotated_to=archive, reason=self.reason, **made)


@dataclass(frozen=True, kw_only=True)
class FinishInPlace(Action):
    """Completes or takes back a rotation in place that was interrupted; `journal` is the path of its intents."""

    verb: ClassVar[str] = "finish"
    failure: ClassVar[type[Failure]] = RotateFailed
    relieves: ClassVar[bool] = True

    archive: str
    journal: str

    @property
    def detail(self) -> str:
        return os.path.basename(self.archive)

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        made = hands.call("maintd.inplace:finish", self, journal=self.journal)
        archive = made.pop("archive")
        if made["how"] == "lost":
            yield ArchiveLost(target=self.target, rotated_to=archive, in_bytes=made["in_bytes"])
        else:
            yield RotationRecovered(target=self.target, rotated_to=archive, **made)
