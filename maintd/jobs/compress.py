"""The kind `compress`: compresses old files by pattern, age and size, and never one that a process has open."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from maintd import dates, names, patterns, trust
from maintd.claims import Claim
from maintd.job import Age, Context, FilePattern, Job, Level, Size, gzip_level
from maintd.matching import is_match
from maintd.room import Means, Relief
from maintd.steps import Finding, Seen, Step
from maintd.triggers import Asked
from maintd.units import format_duration, format_size

_COPIES = 2
"""So many are made at a time, each of which may be as large as its original: what is no log need not be text."""


class CompressFiles(Job):
    """Compresses files that are old enough and that nobody has open, verified before the original goes."""

    kind: ClassVar[str] = "compress"

    paths: tuple[FilePattern, ...] = Field(min_length=1, description="the files, by glob patterns")
    exclude: tuple[FilePattern, ...] = Field(default=(), description="patterns of files that are left alone")
    older_than: Age = Field(description="only files that were last changed longer ago than this")
    min_size: Size = Field(default=1, description="only files of at least this size")
    compress: Literal["zstd", "gzip"] = Field(default="zstd", description="gzip for those whose tools need it")
    level: Level | None = Field(default=None, description="the compression level; default: zstd 1, gzip 5")

    _level_fits = gzip_level

    def takes(self) -> Claim:
        return Claim(self.paths, self.exclude)

    def makes(self, pattern: str) -> tuple[str, ...]:
        return tuple(f"{pattern}{suffix}" for suffix in names.CODEC_SUFFIXES.values() if suffix)

    def plan(self, ctx: Context) -> Iterator[Step]:
        from maintd.actions.compress import Compress  # noqa: PLC0415 - reading a config does not need what compresses

        expansion = patterns.expand(self.paths, self.exclude, own=ctx.own)
        yield from patterns.findings(expansion.misses, asked=isinstance(ctx.cause, Asked))
        for directory in sorted(expansion.directories):
            yield from self._leftovers(directory)
        if isinstance(ctx.cause, Asked) and ctx.cause.due_only:
            yield Finding(target=self.paths[0], reason="only the daemon knows whether it is due: left out by --due")
            return
        if ctx.clock_jumped:
            yield Finding(target=self.paths[0], reason="the clock has jumped: no file is taken for old now")
            return
        judge = trust.Judge()
        for match in expansion.matches:
            seen = Seen.of(match.path, match.stat)
            age = ctx.now.timestamp() - match.stat.st_mtime
            if match.path.endswith(dates.PACKED):
                continue
            if seen.size >= self.min_size and age > self.older_than.total_seconds():
                yield judge.finding(seen) or Compress(
                    target=match.path,
                    reason=f"last changed more than {format_duration(self.older_than)} ago",
                    seen=seen,
                    codec=self.compress,
                    level=self.level,
                    undisturbed=True,
                )
            elif isinstance(ctx.cause, Asked):
                yield Finding(target=match.path, reason=f"left alone: {self._why_not(seen)}")

    def relief(self, ctx: Context, wanted: Relief) -> Iterator[Step]:
        from maintd.actions.compress import Compress  # noqa: PLC0415 - as above

        if wanted.means is not Means.COMPRESS:
            return
        steps = [
            (step.seen.size, step)
            for step in self.plan(replace(ctx, cause=Asked()))
            if isinstance(step, Compress) and step.seen and wanted.covers(step.target, step.seen.dev)
        ]
        for size, step in sorted(steps, key=lambda one: one[0]):
            if _COPIES * size > wanted.free:
                yield Finding(target=step.target, reason="not compressed: there may be no room for its copy")
            else:
                yield replace(step, reason=f"{wanted.reason}; {step.reason}")

    def _why_not(self, seen: Seen) -> str:
        if seen.size < self.min_size:
            return f"{format_size(seen.size)} is less than min_size {format_size(self.min_size)}"
        return f"changed within {format_duration(self.older_than)}"

    def _leftovers(self, directory: str) -> Iterator[Step]:
        """Temporaries of files that the patterns name; one whose original is gone may be the only copy, and stays."""
        from maintd.actions.delete import Clean  # noqa: PLC0415 - as above

        for match in patterns.temporaries(directory):
            plain, suffix = os.path.splitext(os.path.basename(match.path).removesuffix(names.TEMPORARY))
            original = os.path.join(directory, plain)
            if suffix not in (".zst", ".gz") or not any(is_match(original, pattern) for pattern in self.paths):
                continue
            if os.path.lexists(original):
                seen = Seen.of(match.path, match.stat)
                yield Clean(target=match.path, reason="an interrupted run left it", seen=seen)
            else:
                yield Finding(target=match.path, reason="left alone: its original is gone, it may be the only copy")
