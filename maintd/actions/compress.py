"""Compressing a file that nobody has open, in a child process; the original goes only after the copy was read back."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import ClassVar

from maintd import moves, names, trust
from maintd.actions.hands import Hands
from maintd.confinement import Confinement
from maintd.errors import MaintdError, NotYet, Refused
from maintd.events import Event, Failure
from maintd.steps import Action, Seen
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class LogCompressed(Event):
    """A file was compressed, read back and compared, and its original removed."""

    name: ClassVar[str] = "log.compressed"

    compressed_to: str
    codec: str
    in_bytes: int
    out_bytes: int
    reason: str

    @property
    def msg(self) -> str:
        share = f" ({self.out_bytes / self.in_bytes:.1%} of it)" if self.in_bytes else ""
        return f"compressed to {os.path.basename(self.compressed_to)}{share}"


@dataclass(frozen=True, kw_only=True)
class CompressFailed(Failure):
    """A file could not be compressed. It is as it was, and is tried again."""

    name: ClassVar[str] = "compress.failed"


@dataclass(frozen=True, kw_only=True)
class Compress(Action):
    """Compresses one file beside itself. `undisturbed` asks that nobody has it open at all, also for reading.

    `seen` is None for a file that this plan makes.
    """

    verb: ClassVar[str] = "compress"
    failure: ClassVar[type[Failure]] = CompressFailed
    is_one_of_many: ClassVar[bool] = True
    parallel: ClassVar[int] = 2  # a small server has two cores

    seen: Seen | None
    codec: str
    level: int | None
    undisturbed: bool = False
    grows: bool = False

    @property
    def detail(self) -> str:
        return os.path.basename(self.target) + names.CODEC_SUFFIXES[self.codec]

    @property
    def in_bytes(self) -> int | None:
        return self.seen.size if self.seen else None

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        request = {
            "path": self.target,
            "seen": asdict(self.seen) if self.seen else None,
            "codec": self.codec,
            "level": self.level,
            "undisturbed": self.undisturbed,
            "grows": self.grows,
        }
        within = trust.confinement([os.path.dirname(self.target)], file=self.seen)
        try:
            made = hands.call("maintd.copies:compress_file", self, within, request=request)
        except (Refused, NotYet):
            raise
        except MaintdError:
            self._tidy(hands, within)
            raise
        yield LogCompressed(
            target=self.target,
            compressed_to=os.path.join(os.path.dirname(self.target), self.detail),
            codec=self.codec,
            in_bytes=made["in_bytes"],
            out_bytes=made["out_bytes"],
            reason=self.reason,
        )

    def _tidy(self, hands: Hands, within: Confinement | None) -> None:
        """Removes the temporary of a child that was killed, if it is still ours."""
        temporary = os.path.join(os.path.dirname(self.target), names.temporary(self.detail))
        if self.seen or within is None:
            with suppress(OSError, MaintdError):
                hands.work(moves.tidy, within, path=temporary, beside=asdict(self.seen) if self.seen else None)
