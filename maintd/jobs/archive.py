"""The kind `archive`: puts old files away into an archive that lists them, and never one that a process has open."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from maintd import dates, grounds, mounts, names, patterns
from maintd.claims import Claim
from maintd.errors import Trouble, trouble
from maintd.job import AbsolutePath, Age, Context, FilePattern, Flag, Job, Level, Size, gzip_level
from maintd.keeping import Keeping
from maintd.matching import split
from maintd.patterns import Match, PathsFailed
from maintd.room import Means, Relief
from maintd.rules import rule
from maintd.steps import Finding, Seen, Step
from maintd.store_options import ObjectStore, Place, misplaced, store
from maintd.stores import SCHEME, Store
from maintd.triggers import Asked, Settling
from maintd.units import format_duration, format_size

if TYPE_CHECKING:
    from maintd import archiving, inventory, retiring
    from maintd.retention import Verdict


class ArchiveFiles(Keeping, Job):
    """Moves files that are old enough, and that nobody has open, into an archive that can be searched and read back.

    Each is whole there, verified and listed, before it goes from where it was.
    """

    kind: ClassVar[str] = "archive"
    takes_archives: ClassVar[bool] = True

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
    bundle: Literal["day", "month"] | None = Field(
        default=None,
        description="files of a day, or a month, go together as one tar.zst once all of them are old enough",
    )
    keep_originals: Flag = Field(
        default=False, description="files also stay where they are, until a guard needs their room or they change"
    )

    _level_fits = gzip_level

    @rule("s3", "to")
    def _is_an_object_store(self) -> str:
        return misplaced(self.s3, self.to, "to")

    @rule("paths", "to")
    def _is_not_its_own_archive(self) -> str:
        if self.to.startswith(SCHEME):
            return ""
        root = grounds.resolve(self.to)
        inside = [pattern for pattern in self.paths if split(pattern).root == root]
        return f"{inside[0]} names only what lies in the archive, from where nothing is taken" if inside else ""

    @rule("bundle", "compress")
    def _bundles_are_zstd(self) -> str:
        return "a bundle is a tar.zst: leave compress out" if self.bundle and self.compress != "zstd" else ""

    def archive(self) -> Store:
        return store(self.to, self.s3)

    def takes(self) -> Claim | None:
        return None if self.keep_originals else Claim(self.paths, self.exclude)

    def stored_as(self, path: str) -> str:
        if self.bundle:
            return "2026-01-01.tar.zst" if self.bundle == "day" else "2026-01.tar.zst"
        codec = "none" if path.endswith(dates.PACKED) else self.compress
        return os.path.relpath(path, self._base()) + names.CODEC_SUFFIXES[codec]

    def _base(self) -> str:
        return grounds.resolve(self.base or os.path.commonpath([split(pattern).root for pattern in self.paths]))

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
        shelf = self._shelf(ctx)
        try:
            if gone := self._gone(shelf):
                yield gone
                return
            yield from self._store(found, shelf, ctx)
            yield from self._retire(ctx, shelf)
        except OSError as error:
            event = PathsFailed.from_trouble(self.to, "read the archive's manifest", trouble(error))
            yield Finding(target=self.to, reason=event.msg, event=event)

    def _gone(self, shelf: "archiving.Shelf") -> Finding | None:
        """That the archive is not there any more, as when its disk is not mounted: then none is made in its place."""
        from maintd import inventory, whereabouts  # noqa: PLC0415 - as above
        from maintd.actions.archive import ArchiveGone  # noqa: PLC0415 - as above

        if self.archive().is_remote or not whereabouts.is_noted(shelf.private) or inventory.read(shelf.root).is_there:
            return None
        path = names.printable(os.path.join(shelf.root, names.MANIFEST))
        advice = f"mount its disk; if it is gone for good, make its directory, and a new manifest: touch {path}"
        told = Trouble("ENOENT", "the archive is not there any more, where files were stored before", advice)
        event = ArchiveGone.from_trouble(self.to, "archive anything", told)
        return Finding(target=self.to, reason=event.msg, event=event)

    def _store(self, found: "Sequence[archiving.Old]", shelf: "archiving.Shelf", ctx: Context) -> Iterator[Step]:
        from maintd import archiving, inventory, losses, renewing  # noqa: PLC0415 - as above
        from maintd.actions.upload import AskStore  # noqa: PLC0415 - as above

        stored, manifest = self.archive(), inventory.read(shelf.root) if found else inventory.Manifest()
        yield from renewing.plan_disowning(found, shelf, manifest, is_remote=stored.is_remote, where=self.to)
        if self.bundle:
            yield from self._plan_bundles(found, shelf, manifest, ctx)
        elif stored.is_remote:
            yield from archiving.plan_upload(found, shelf, manifest, stored)
        else:
            yield from archiving.plan_archive(found, shelf, manifest)
        if stored.is_remote and self.keep_originals and found and losses.noted(shelf.root).is_due(ctx.now):
            reason = "what it has lost, and is still here, can be stored anew"
            yield AskStore(target=self.to, reason=reason, store=stored, directory=shelf.root)

    def _plan_bundles(
        self, found: "Sequence[archiving.Old]", shelf: "archiving.Shelf", manifest: "inventory.Manifest", ctx: Context
    ) -> Iterator[Step]:
        from maintd import bundles  # noqa: PLC0415 - as above

        assert self.bundle
        dated: list[bundles.Dated] = []
        for old in found:
            time = dates.time_of(old.seen.path, old.seen.mtime_ns, ctx.now, ctx.zone)
            period, end = bundles.period_of(time, self.bundle, ctx.zone)
            if ctx.now - end > self.older_than:
                dated.append(bundles.Dated(old, period))
            elif isinstance(ctx.cause, Asked):
                reason = f"left alone: its {self.bundle} is to be over for {format_duration(self.older_than)}"
                yield Finding(target=old.seen.path, reason=reason)
        stored = self.archive()
        if stored.is_remote:
            yield from bundles.plan_uploads(dated, shelf, manifest, stored)
        else:
            yield from bundles.plan_bundles(dated, shelf, manifest)

    def _retire(self, ctx: Context, shelf: "archiving.Shelf") -> Iterator[Step]:
        """What the policy gives up of what this job has put away; nothing without one."""
        if self.retention().is_empty:
            return
        from maintd import retiring, writers  # noqa: PLC0415 - as above
        from maintd.actions.expire import ExpireLimited  # noqa: PLC0415 - as above

        stored = self.archive()
        found = retiring.held(shelf, is_remote=stored.is_remote)

        def judge(among: "Iterable[retiring.Held]") -> "list[Verdict]":
            files = ((retiring.group(one, self.group), one.generation(ctx.now, ctx.zone)) for one in among)
            return self.verdicts(files, ctx, lambda name: bool((seen := found[name].seen) and writers.is_open(seen)))

        verdicts = retiring.judged(found, judge)
        if stored.is_remote:
            yield from retiring.plan_drops_in(stored, verdicts, found, shelf)
        else:
            yield from retiring.plan_drops(verdicts, found, shelf)
        for verdict in verdicts if isinstance(ctx.cause, Asked) else ():
            if verdict.kept:
                path = os.path.join(self.to, verdict.generation.path)
                yield Finding(target=path, reason=f"kept: {verdict.reason}")
        left = list(self.left(verdicts))
        if left:
            event = ExpireLimited(target=self.to, left=len(left), left_bytes=sum(left), share=self.share_said)
            yield Finding(target=self.to, reason=event.msg, event=event)

    def relief(self, ctx: Context, wanted: Relief) -> Iterator[Step]:
        stored, shelf = self.archive(), self._shelf(ctx)
        place = grounds.identity(shelf.root)
        is_here = not stored.is_remote and place is not None and place[0] == wanted.device
        is_elsewhere = stored.is_remote or (place is not None and place[0] != wanted.device)
        if wanted.means is Means.EXPIRED and is_here and not ctx.clock_jumped:
            yield from self._expired(ctx, shelf, wanted)
        if wanted.means is Means.STORED and is_elsewhere:
            yield from self._doubles(ctx, shelf, wanted)

    def _doubles(self, ctx: Context, shelf: "archiving.Shelf", wanted: Relief) -> Iterator[Step]:
        from maintd import archiving, doubles, retiring  # noqa: PLC0415 - as above

        expansion = patterns.expand(self.paths, self.exclude, ours=True, own=ctx.own, barriers=mounts.points())
        steps = self._looked_through(expansion.matches, ctx)
        found = [
            step for step in steps if isinstance(step, archiving.Old) and wanted.covers(step.seen.path, step.seen.dev)
        ]
        stores = (job.archive() for job in ctx.jobs.values())
        others = (grounds.resolve(one.to) for one in stores if one and not one.is_remote)
        elsewhere = retiring.Elsewhere(others, shelf.at)
        yield from doubles.Doubles(self.archive(), shelf, elsewhere).plan(found, wanted)

    def _expired(self, ctx: Context, shelf: "archiving.Shelf", wanted: Relief) -> Iterator[Step]:
        from maintd.actions.drop import DropObject  # noqa: PLC0415 - as above
        from maintd.actions.expire import ExpireLimited  # noqa: PLC0415 - as above

        for step in self._retire(replace(ctx, cause=Settling()), shelf):
            if isinstance(step, DropObject) and step.seen and wanted.covers(step.target, step.seen.dev):
                yield replace(step, reason=f"{wanted.reason}; {step.reason}", giver=ctx.job)
            elif isinstance(step, Finding) and isinstance(step.event, ExpireLimited):
                yield replace(
                    step, event=None, reason=f"{step.reason}, and guards take that once between two of its own"
                )

    def _shelf(self, ctx: Context) -> "archiving.Shelf":
        from maintd import archiving  # noqa: PLC0415 - as above

        stored = self.archive()
        private = stored.directory(ctx.stores)
        root = private if stored.is_remote else grounds.resolve(self.to)
        return archiving.Shelf(root, self.compress, self.level, ctx.job, ctx.now, self.keep_originals, private)

    def _looked_through(self, matches: Sequence[Match], ctx: Context) -> "Iterator[archiving.Old | Finding]":
        """The files that are old enough, and why the others are left alone."""
        from maintd import archiving  # noqa: PLC0415 - as above

        root = self._shelf(ctx).root
        base = self._base()
        owners = ctx.claims.owners([match.path for match in matches], before="")
        for match in matches:
            below = os.path.relpath(match.path, base)
            reason, hindrance = self._reasons(match, ctx)
            if match.path.startswith(f"{root}/"):
                hindrance = "it lies in the archive"
            elif os.path.basename(match.path) == names.MANIFEST:
                hindrance = "it is the manifest of an archive"
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
