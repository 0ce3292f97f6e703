"""The kind `check.file`: whether files are there, are being written, and are as they should be."""

import grp
import hashlib
import os
import pwd
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from maintd import ages, patterns
from maintd.check import CannotTell, Check, Whole, seen
from maintd.deadlines import left
from maintd.job import Context, FilePattern, Flag, Limit, Size, Span
from maintd.patterns import Expansion, Match
from maintd.readings import Sign, above, below, down, up
from maintd.rules import rule
from maintd.units import counted, format_duration, format_size

_WILDCARDS = set("*?[")


def _mode(text: str) -> str:
    if not (3 <= len(text) <= 4 and set(text) <= set("01234567")):
        raise ValueError(f'{text!r} is no mode: write "0640"')
    return text


class CheckFile(Check):
    """Looks at the files that a pattern names. Ages hold also after the clock was set."""

    kind: ClassVar[str] = "check.file"
    looks_at: ClassVar[tuple[str, ...]] = ("paths", "exclude")

    paths: tuple[FilePattern, ...] = Field(
        min_length=1, description="files, by glob patterns; each that has no wildcard must be there"
    )
    exclude: tuple[FilePattern, ...] = Field(default=(), description="patterns of files that are left alone")
    absent: Flag = Field(default=False, description="true if there must be no such file")
    degraded_age: Span | None = Field(default=None, description="degraded if the newest was changed so long ago")
    down_age: Span | None = Field(default=None, description="down if the newest was changed so long ago")
    degraded_size: Limit | None = Field(default=None, description="degraded if one of them is so large")
    down_size: Limit | None = Field(default=None, description="down if one of them is so large")
    min_size: Size = Field(default=0, description="down if one of them is smaller than this")
    degraded_growth: Limit | None = Field(default=None, description="degraded if all together grow so much in an hour")
    down_growth: Limit | None = Field(default=None, description="down if all together grow so much in an hour")
    changed_within: Span = Field(
        default=timedelta(minutes=10), description="in how long files that changed are counted"
    )
    degraded_changed: Whole | None = Field(default=None, description="degraded if not more than so many changed in it")
    down_changed: Whole | None = Field(default=None, description="down if not more than so many changed; 0: none did")
    mode: Annotated[str, AfterValidator(_mode)] | None = Field(default=None, description='permissions, such as "0640"')
    owner: str | None = Field(default=None, description="the user that owns each of them")
    group: str | None = Field(default=None, description="the group of each of them")
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="the checksum of the file, which is read whole for it"
    )

    @rule("sha256", "paths")
    def _one_file(self) -> str:
        are_many = self.sha256 and (len(self.paths) > 1 or set(self.paths[0]) & _WILDCARDS)
        return "sha256 is of one file: name it in paths without a wildcard" if are_many else ""

    @property
    def target(self) -> str:
        return ", ".join(self.paths)

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        expansion = patterns.expand(self.paths, self.exclude, own=ctx.own)
        if self.absent:
            yield self._absence(expansion)
            return
        found = seen(expansion, "file")
        yield from self._absent_by_name(expansion)
        now, away = time.time(), ctx.clock_away
        old = {match.path: ages.age(match.stat.st_mtime, match.path, ctx.memory, now, away) for match in found}
        ages.keep(old, ctx.memory)
        yield from self._ages(old)
        yield from self._sizes(ctx, found)
        for match in found:
            yield from self._rights(match)
        if self.sha256:
            yield self._content(found[0], deadline)

    def _absence(self, expansion: Expansion) -> Sign:
        if expansion.matches:
            return down(f"{expansion.matches[0].path} is there")
        there = next((miss for miss in expansion.misses if miss.is_there), None)
        if there is not None:
            return down(f"{there.path} {there.reason}")
        for miss in expansion.misses:
            if not miss.missing:
                raise CannotTell(f"{miss.path}: {miss.reason}", hint="maintd must be able to read the directory")
        return up("there is no such file")

    def _absent_by_name(self, expansion: Expansion) -> Iterator[Sign]:
        """What has no wildcard names a file that must be there, whatever else is."""
        for miss in expansion.misses:
            if miss.path in self.paths and not set(miss.path) & _WILDCARDS:
                yield down(f"{miss.path} is not there" if miss.missing else f"{miss.path}: {miss.reason}")

    def _ages(self, old: dict[str, float]) -> Iterator[Sign]:
        newest = min(old.values())
        limits = [None if span is None else span.total_seconds() for span in (self.degraded_age, self.down_age)]
        told = f"last changed {format_duration(timedelta(seconds=int(newest)))} ago"
        yield above(newest, (limits[0], limits[1]), told)
        if self.degraded_changed is None and self.down_changed is None:
            return
        window = self.changed_within.total_seconds()
        count = sum(age <= window for age in old.values())
        told = f"{counted(count, 'file')} changed within {format_duration(self.changed_within)}"
        yield below(count, (self.degraded_changed, self.down_changed), told)

    def _sizes(self, ctx: Context, found: list[Match]) -> Iterator[Sign]:
        largest = max(found, key=lambda match: match.stat.st_size)
        size = largest.stat.st_size
        name = f"{os.path.basename(largest.path)} is " if len(found) > 1 else ""
        yield above(size, (self.degraded_size, self.down_size), f"{name}{format_size(size)}")
        smallest = min(found, key=lambda match: match.stat.st_size)
        if smallest.stat.st_size < self.min_size:
            told = format_size(smallest.stat.st_size)
            yield down(f"{smallest.path} is {told}, less than {format_size(self.min_size)}")
        if self.degraded_growth is None and self.down_growth is None:
            return
        now, total = time.monotonic(), sum(match.stat.st_size for match in found)
        before = ctx.memory.get("total")
        ctx.memory["total"] = now, total
        if before and now > before[0]:
            rate = max(total - before[1], 0) / (now - before[0]) * 3600
            yield above(rate, (self.degraded_growth, self.down_growth), f"grows by {format_size(rate)} an hour")

    def _rights(self, match: Match) -> Iterator[Sign]:
        mode = stat.S_IMODE(match.stat.st_mode)
        if self.mode is not None and mode != int(self.mode, 8):
            yield down(f"{match.path} has mode {mode:04o}, not {self.mode}")
        try:
            owner = None if self.owner is None else pwd.getpwnam(self.owner).pw_uid
            group = None if self.group is None else grp.getgrnam(self.group).gr_gid
        except KeyError as error:
            raise CannotTell(f"there is no user or group {error.args[0]}", hint="correct owner or group") from error
        if owner not in (None, match.stat.st_uid):
            yield down(f"{match.path} belongs to uid {match.stat.st_uid}, not to {self.owner}")
        if group not in (None, match.stat.st_gid):
            yield down(f"{match.path} has gid {match.stat.st_gid}, not {self.group}")

    def _content(self, match: Match, deadline: float) -> Sign:
        digest = hashlib.sha256()
        descriptor = os.open(match.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                left(deadline)
        is_same = digest.hexdigest() == self.sha256
        return up("its content is as it was") if is_same else down(f"its content has changed ({digest.hexdigest()})")
