"""Compressing a file that nobody has open, in a child process; the original goes only after the copy was read back."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import ClassVar

from maintd import durable, holders, names
from maintd.actions.hands import Hands
from maintd.errors import MaintdError
from maintd.events import Event, Failure
from maintd.steps import Action, Seen


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
    """Compresses one file beside itself. `undisturbed` asks that nobody has it open at all, also for reading."""

    verb: ClassVar[str] = "compress"
    failure: ClassVar[type[Failure]] = CompressFailed
    parallel: ClassVar[bool] = True

    seen: Seen
    codec: str
    level: int | None
    undisturbed: bool = False
    grows: bool = False

    @property
    def detail(self) -> str:
        return os.path.basename(self.target) + names.CODEC_SUFFIXES[self.codec]

    @property
    def in_bytes(self) -> int:
        return self.seen.size

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        request = {
            "path": self.target,
            "seen": asdict(self.seen),
            "codec": self.codec,
            "level": self.level,
            "undisturbed": self.undisturbed,
            "grows": self.grows,
        }
        try:
            made = hands.call("maintd.copies:compress_file", self, request=request)
        except MaintdError:
            self._tidy()
            raise
        yield LogCompressed(
            target=self.target,
            compressed_to=os.path.join(os.path.dirname(self.target), self.detail),
            codec=self.codec,
            in_bytes=made["in_bytes"],
            out_bytes=made["out_bytes"],
            reason=self.reason,
        )

    def _tidy(self) -> None:
        """Removes the temporary of a child that was killed, if it is not somebody else's by now."""
        temporary = names.temporary(self.detail)
        with (
            suppress(OSError, MaintdError),
            durable.directory(os.path.dirname(self.target)) as dir_fd,
            durable.opened(temporary, dir_fd=dir_fd) as left,
            holders.unwritable(left) as free,
        ):
            if free:
                durable.discard(temporary, dir_fd=dir_fd)
