"""Removing what the retention gave up, and temporaries that an interrupted run left."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import ClassVar

from maintd import moves, trust
from maintd.actions.hands import Hands
from maintd.events import Event, Failure
from maintd.steps import Action, Lane, Seen
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class LogExpired(Event):
    """A generation was deleted because the retention gave it up."""

    name: ClassVar[str] = "log.expired"

    reason: str
    freed_bytes: int

    @property
    def msg(self) -> str:
        return f"deleted: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class TemporaryRemoved(Event):
    """What an interrupted run had left half-written was removed; its source is whole."""

    name: ClassVar[str] = "temporary.removed"

    @property
    def msg(self) -> str:
        return "removed the temporary that an interrupted run left"


@dataclass(frozen=True, kw_only=True)
class ExpireFailed(Failure):
    """A file could not be deleted."""

    name: ClassVar[str] = "expire.failed"


@dataclass(frozen=True, kw_only=True)
class Expire(Action):
    """Deletes one generation, if it is still the planned file and nobody writes it."""

    verb: ClassVar[str] = "delete"
    failure: ClassVar[type[Failure]] = ExpireFailed

    seen: Seen

    @property
    def in_bytes(self) -> int:
        return self.seen.size

    @property
    def common_place(self) -> str:
        return os.path.dirname(self.target)

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        within = trust.confinement([os.path.dirname(self.target)], file=self.seen)
        hands.work(moves.delete, within, seen=asdict(self.seen))
        yield LogExpired(target=self.target, reason=self.reason, freed_bytes=self.seen.size)


@dataclass(frozen=True, kw_only=True)
class GiveUp(Expire):
    """The same for room on a full disk; a generation that an earlier step has compressed is none of its business."""

    def apply(self, hands: Hands) -> Iterator[Event]:
        with suppress(FileNotFoundError):
            yield from super().apply(hands)


@dataclass(frozen=True, kw_only=True)
class Clean(Action):
    """Removes a temporary of ours that nobody writes."""

    verb: ClassVar[str] = "clean"
    failure: ClassVar[type[Failure]] = ExpireFailed

    seen: Seen

    @property
    def in_bytes(self) -> int:
        return self.seen.size

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        within = trust.confinement([os.path.dirname(self.target)], file=self.seen)
        hands.work(moves.clean, within, path=self.target, seen=asdict(self.seen))
        yield TemporaryRemoved(target=self.target)


@dataclass(frozen=True, kw_only=True)
class CleanFresh(Clean):
    """Removes a new log that an interrupted rotation had not yet given its name; in the lane that makes them."""

    lane: ClassVar[Lane] = Lane.ROTATE
