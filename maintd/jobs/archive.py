"""The kind `archive`: puts old files away into an archive that lists them, and never one that a process has open."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from maintd import dates, grounds, mounts, names, patterns, trust
from maintd.errors import trouble
from maintd.job import AbsolutePath, Age, Context, FilePattern, Flag, Job, Level, Size, gzip_level
from maintd.matching import split
from maintd.patterns import Match, PathsFailed
from maintd.room import Means, Relief
from maintd.rules import rule
from maintd.steps import Finding, Seen, Step
from maintd.store_options import ObjectStore, Place, misplaced, store
from maintd.stores import Store
from maintd.triggers import Asked
from maintd.units import format_duration, format_size

if TYPE_CHECKING:
    from maintd import archiving


class ArchiveFiles(Job):
    """Moves files that are old enough, and that nobody has open, into an archive that can be searched and read back.

    Each is whole there, verified and listed, before it goes from where it was.
    """

    kind: ClassVar[str] = "archive"

    paths: tuple[FilePattern, ...] = Field(min_length=1, description="the files, by glob patterns")
    exclude: tuple[FilePattern, ...] = Field(default=(), description="patterns of files that are left alone")
    to: Place = Field(
        description="the archive: a directory, or s3://bucket/prefix in an object store (needs the extra s3)"
    )
    s3: ObjectStore | None = Field(default=None, description="how an object store is reached: endpoint, region, keys")
    base: AbsolutePath | None = Field(
        default=None,
        description="files keep their path below this directory; default: the last that all patterns share",
    )
    older_than: Age = Field(description="only files that are older, by the date in their name, else by their mtime")
    min_size: Size = Field(default=0, description="only files of at least this size")
    compress: Literal["zstd", "gzip", "none"] = Field(default="zstd", description="how files are stored")
    level: Level | None = Field(default=None, description="the compression level; default: zstd 1, gzip 5")
    keep_originals: Flag = Field(
        default=False, description="files also stay where they are, until a guard needs their room or they change"
    )

    _level_fits = gzip_level

    @rule("s3", "to")
    def _is_an_object_store(self) -> str:
        return misplaced(self.s3, self.to, "to")

    def archive(self) -> Store:
        return store(self.to, self.s3)

    def plan(self, ctx: Context) -> Iterator[Step]:
        from maintd import archiving  # noqa: PLC0415 - reading a config does not need what archives

        expansion = patterns.expand(self.paths, self.exclude, ours=True, own=ctx.own, barriers=mounts.points())
        yield from patterns.findings(expansion.misses, asked=isinstance(ctx.cause, Asked))
        if isinstance(ctx.cause, Asked) and ctx.cause.due_only:
            yield Finding(target=self.paths[0], reason="only the daemon knows whether it is due: left out by --due")
            return
        if ctx.clock_jumped:
            yield Finding(target=self.paths[0], reason="the clock has jumped: no file is taken for old now")
            return
        found: list[archiving.Old] = []
        for step in self._looked_through(expansion.matches, ctx):
            if isinstance(step, archiving.Old):
                found.append(step)
            elif isinstance(ctx.cause, Asked):
                yield step
        stored, shelf = self.archive(), self._shelf(ctx)
        try:
            yield from (
                archiving.plan_upload(found, shelf, stored)
                if stored.is_remote
                else archiving.plan_archive(found, shelf)
            )
        except OSError as error:
            event = PathsFailed.from_trouble(self.to, "read the archive's manifest", trouble(error))
            yield Finding(target=self.to, reason=event.msg, event=event)

    def relief(self, ctx: Context, wanted: Relief) -> Iterator[Step]:
        from maintd import archiving  # noqa: PLC0415 - as above
        from maintd.actions.expire import GiveUpFile  # noqa: PLC0415 - as above

        stored, shelf = self.archive(), self._shelf(ctx)
        place = grounds.identity(shelf.root)
        is_elsewhere = stored.is_remote or (place is not None and place[0] != wanted.device)
        if wanted.means is not Means.STORED or not is_elsewhere:
            return
        expansion = patterns.expand(self.paths, self.exclude, ours=True, own=ctx.own, barriers=mounts.points())
        steps = self._looked_through(expansion.matches, ctx)
        found = [
            step for step in steps if isinstance(step, archiving.Old) and wanted.covers(step.seen.path, step.seen.dev)
        ]
        judge = trust.Judge()
        for old, entry in archiving.stored_elsewhere(found, shelf, is_remote=stored.is_remote):
            reason = f"{wanted.reason}; stored as {os.path.join(self.to, entry.name)}"
            yield judge.finding(old.seen) or GiveUpFile(target=old.seen.path, reason=reason, seen=old.seen)

    def _shelf(self, ctx: Context) -> "archiving.Shelf":
        from maintd import archiving  # noqa: PLC0415 - as above

        stored = self.archive()
        root = stored.directory(ctx.stores) if stored.is_remote else grounds.resolve(self.to)
        return archiving.Shelf(root, self.compress, self.level, ctx.job, ctx.now, self.keep_originals)

    def _looked_through(self, matches: Sequence[Match], ctx: Context) -> "Iterator[archiving.Old | Finding]":
        """The files that are old enough, and why the others are left alone."""
        from maintd import archiving  # noqa: PLC0415 - as above

        root = self._shelf(ctx).root
        base = grounds.resolve(self.base or os.path.commonpath([split(pattern).root for pattern in self.paths]))
        owners = ctx.claims.owners([match.path for match in matches], before="")
        for match in matches:
            below = os.path.relpath(match.path, base)
            reason, hindrance = self._reasons(match, ctx)
            if match.path.startswith(f"{root}/"):
                hindrance = "it lies in the archive"
            elif match.path in owners:
                hindrance = f"belongs to {owners[match.path]}: a live log is not archived"
            elif below.startswith("../"):
                hindrance = f"it does not lie below base ({base})"
            if hindrance:
                yield Finding(target=match.path, reason=f"left alone: {hindrance}")
            else:
                yield archiving.Old(Seen.of(match.path, match.stat), below, reason)

    def _reasons(self, match: Match, ctx: Context) -> tuple[str, str]:
        """Why it is archived, and what speaks against it, if anything does."""
        time = dates.time_of(match.path, match.stat.st_mtime_ns, ctx.now, ctx.zone)
        older_than = format_duration(self.older_than)
        if match.stat.st_size < self.min_size:
            return "", f"{format_size(match.stat.st_size)} is less than min_size {format_size(self.min_size)}"
        if ctx.now - time <= self.older_than:
            return "", f"it is of {time:%Y-%m-%d %H:%M}, not older than {older_than}"
        parsed = names.parse_archive(os.path.basename(match.path))
        if parsed and not parsed.suffix and self._may_be_settling(match):
            return "", "it was set aside, and is still to be compressed"
        return f"of {time:%Y-%m-%d}, older than {older_than}", ""

    def _may_be_settling(self, match: Match) -> bool:
        """Whether a copy of a rotated log is being made beside it, or lies there already."""
        return any(os.path.lexists(match.path + suffix) for suffix in names.CODEC_SUFFIXES.values() if suffix)
