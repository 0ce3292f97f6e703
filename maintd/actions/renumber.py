"""Giving an archive another number, because somebody else has taken the name of its compressed copy."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import ClassVar

from maintd import moves, trust
from maintd.actions.compress import CompressFailed
from maintd.actions.hands import Hands
from maintd.events import Event, Failure
from maintd.steps import Action, Seen
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class LogRenumbered(Event):
    """An archive got the next free number, because somebody else has taken the name of its compressed copy."""

    name: ClassVar[str] = "log.renumbered"

    renamed_to: str
    reason: str

    @property
    def msg(self) -> str:
        return f"renamed to {os.path.basename(self.renamed_to)}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Renumber(Action):
    """Renames one archive to `to`, a path in the same directory, if it is still the planned file."""

    verb: ClassVar[str] = "renumber"
    failure: ClassVar[type[Failure]] = CompressFailed

    seen: Seen
    to: str

    @property
    def detail(self) -> str:
        return os.path.basename(self.to)

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        within = trust.confinement([os.path.dirname(self.target)], file=self.seen)
        hands.work(moves.renumber, within, seen=asdict(self.seen), to=self.detail)
        yield LogRenumbered(target=self.target, renamed_to=self.to, reason=self.reason)
