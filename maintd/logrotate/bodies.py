"""What is done to the content of a log's files, in steps: waiting, compressing, copying, cutting, mailing."""

import os
import re
from collections.abc import Iterator
from typing import ClassVar

from maintd.actions.compress import LogCompressed
from maintd.actions.hands import Hands
from maintd.actions.tell import Wait
from maintd.errors import MaintdError, NotYet, Refused
from maintd.events import Event, Failure
from maintd.logrotate import work
from maintd.logrotate.deeds import Deed, LogrotateFailed, place
from maintd.logrotate.stanza import Options
from maintd.values import dataclass

_GZIP = ("/bin/gzip", "/usr/bin/gzip", "gzip")
_LEVEL = re.compile(r"-([1-9])")


@dataclass(frozen=True, kw_only=True)
class LogCopied(Event):
    """A log of a logrotate stanza was copied to its archive."""

    name: ClassVar[str] = "log.copied"

    copied_to: str
    reason: str

    @property
    def msg(self) -> str:
        return f"copied to {os.path.basename(self.copied_to)}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class LogTruncated(Event):
    """A log of a logrotate stanza was cut to nothing after it had been copied."""

    name: ClassVar[str] = "log.truncated"

    is_exact: bool
    reason: str

    @property
    def msg(self) -> str:
        doubt = "" if self.is_exact else ", beside a process that has it open: a line of the last moment may be lost"
        return f"cut to nothing: {self.reason}{doubt}"


@dataclass(frozen=True, kw_only=True)
class LogMailed(Event):
    """A log of a logrotate stanza was handed to the program that sends mail."""

    name: ClassVar[str] = "log.mailed"

    address: str

    @property
    def msg(self) -> str:
        return f"mailed to {self.address}"


@dataclass(frozen=True, kw_only=True)
class CommandSaid(Event):
    """The compresscmd of a logrotate stanza ended well, and yet wrote something to its standard error."""

    name: ClassVar[str] = "command.said"
    level: ClassVar[str] = "warning"

    command: str
    output: str

    @property
    def msg(self) -> str:
        return f"{self.command} wrote to its standard error: {self.output}"


@dataclass(frozen=True, kw_only=True)
class CompressFile(Deed):
    """Compresses a file that nobody writes to `to`; the original goes, unless a script is to be run before (`keeps`).

    gzip is done in process; another command of the stanza, or other options than a level, are run as they are, in the
    `directory` of the run, and told how the file is `called` in the config. What is made of a copy gets the time of the
    log, `mtime_ns`, and not that of the copy.
    """

    verb: ClassVar[str] = "compress"
    parallel: ClassVar[int] = 2

    to: str
    called: str
    options: Options
    directory: str = "/"
    keeps: bool = False
    mtime_ns: int | None = None

    @property
    def detail(self) -> str:
        return os.path.basename(self.to)

    @property
    def command(self) -> tuple[str, ...]:
        """The program that is run, empty if there is none."""
        options = self.options
        is_gzip = options.compresscmd in _GZIP and all(map(_LEVEL.fullmatch, options.compressoptions))
        return () if is_gzip else (options.compresscmd, *options.compressoptions)

    @property
    def level(self) -> int:
        """That of gzip's options, or its own default."""
        levels = [int(option[1:]) for option in self.options.compressoptions] if not self.command else []
        return levels[-1] if levels else 6

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        within = place([os.path.dirname(self.target), os.path.dirname(self.to)], self.su)
        request = {"to": self.to, "level": self.level, "keeps": self.keeps, "command": self.command}
        request |= {"is_su": self.su is not None, "inode": self.inode}
        request |= {"called": self.called, "directory": self.directory, "mtime_ns": self.mtime_ns}
        try:
            made = hands.call("maintd.logrotate.work:compress", self, within, path=self.target, request=request)
        except (Refused, NotYet):
            raise
        except MaintdError:  # of a child that was killed
            hands.work(work.tidy, within, to=self.to)
            raise
        if made["said"]:
            yield CommandSaid(target=self.target, command=self.command[0], output=made["said"])
        yield LogCompressed(
            target=self.target,
            compressed_to=self.to,
            codec=self.command[0] if self.command else "gzip",
            in_bytes=made["in_bytes"],
            out_bytes=made["out_bytes"],
            reason=self.reason,
        )


@dataclass(frozen=True, kw_only=True)
class CopyFile(Deed):
    """Copies a log to `to`, with its owner and mode; not one that `is_cut` next and cannot be."""

    verb: ClassVar[str] = "copy"

    to: str
    is_cut: bool = False

    @property
    def detail(self) -> str:
        return os.path.basename(self.to)

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        within = place([os.path.dirname(self.target), os.path.dirname(self.to)], self.su)
        how = {"is_su": self.su is not None, "is_cut": self.is_cut}
        hands.call("maintd.logrotate.work:copy", self, within, path=self.target, to=self.to, **how)
        yield LogCopied(target=self.target, copied_to=self.to, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class TruncateLog(Deed):
    """Cuts a log to nothing, after what it has got since it was copied `to` there was added; None is not at all."""

    verb: ClassVar[str] = "cut"
    relieves: ClassVar[bool] = True

    to: str | None = None

    def apply(self, hands: Hands) -> Iterator[Event]:
        others = () if self.to is None else (self.to,)
        is_exact = self.work(hands, work.truncate, *others, to=self.to)
        yield LogTruncated(target=self.target, is_exact=is_exact, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class MailFile(Deed):
    """Hands a file, uncompressed, to the program that sends mail, which runs in the `directory` of the run."""

    verb: ClassVar[str] = "mail"

    subject: str
    address: str
    program: str
    options: Options
    directory: str = "/"

    @property
    def detail(self) -> str:
        return self.address

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        is_compressed = self.options.compress and self.target.endswith(self.options.compressext)
        reader = (self.options.uncompresscmd,) if is_compressed else ()
        argv = (self.program, "-s", self.subject, self.address)
        where = self.directory
        hands.call("maintd.logrotate.work:mail", self, path=self.target, reader=reader, argv=argv, directory=where)
        yield LogMailed(target=self.target, address=self.address)


@dataclass(frozen=True, kw_only=True)
class WaitForWriter(Wait):
    """Waits until nobody may write a file of a stanza that was set aside."""

    failure: ClassVar[type[Failure]] = LogrotateFailed
    advice: ClassVar[str] = (
        "it is compressed as soon as its writer opens the new log; let postrotate tell it to, or set copytruncate"
    )


@dataclass(frozen=True, kw_only=True)
class WaitOnce(WaitForWriter):
    """The same on the command line, which does not come back to it before the next rotation."""

    advice: ClassVar[str] = (
        "that is done when the log is rotated the next time, and its writer has opened the new one by then; "
        "let postrotate tell it to, or set copytruncate"
    )
