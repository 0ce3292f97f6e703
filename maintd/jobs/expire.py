"""The kind `expire`: deletes old files by count, period, age and size, with a guard before each way that goes wrong."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Literal

from pydantic import Field

from maintd import dates, mounts, names, patterns, retention, trust
from maintd.errors import MaintdError
from maintd.events import Event
from maintd.job import Context, Count, FilePattern, Flag, Job, Limit, Share, Span
from maintd.matching import split
from maintd.retention import Generation, Verdict
from maintd.room import Means, Relief
from maintd.rules import rule
from maintd.steps import Action, Finding, Seen, Step
from maintd.triggers import Asked, Settling
from maintd.units import counted, format_size

_SETTLED = timedelta(days=1)
"""An empty directory that was changed within this time may be one that somebody has just made for use."""
_POLICY = tuple(field.name for field in fields(retention.Policy))


@dataclass(frozen=True, kw_only=True)
class ExpireLimited(Event):
    """A job has given up more files than may go in one run; the oldest of them go now, the others in later runs."""

    name: ClassVar[str] = "expire.limited"
    level: ClassVar[str] = "warning"

    left: int
    left_bytes: int
    share: str

    @property
    def msg(self) -> str:
        what = f"{counted(self.left, 'file')} of {format_size(self.left_bytes)}"
        return f"left {what} to a later run: at most {self.share} go in one (max_share)"


class ExpireFiles(Job):
    """Deletes the files that no rule keeps: by count, by period, by age, by size; per directory or per log.

    The newest of each group never goes, nor what a process has open, and at most half of all in one run.
    """

    kind: ClassVar[str] = "expire"

    paths: tuple[FilePattern, ...] = Field(min_length=1, description="the files, by glob patterns")
    exclude: tuple[FilePattern, ...] = Field(default=(), description="patterns of files that are left alone")
    per: Literal["directory", "log"] = Field(
        default="directory", description="what keep_*, max_count and the newest are counted in"
    )
    keep_last: Count | None = Field(default=None, description="how many of the newest stay")
    keep_hourly: Count | None = Field(default=None, description="of so many hours the newest stays")
    keep_daily: Count | None = Field(default=None, description="of so many days the newest stays")
    keep_weekly: Count | None = Field(default=None, description="of so many weeks the newest stays")
    keep_monthly: Count | None = Field(default=None, description="of so many months the newest stays")
    keep_yearly: Count | None = Field(default=None, description="of so many years the newest stays")
    keep_within: Span | None = Field(default=None, description="files younger than this always stay")
    max_age: Span | None = Field(default=None, description="files older than this go")
    max_count: Count | None = Field(default=None, description="the oldest go while more than so many are kept")
    max_total: Limit | None = Field(default=None, description="the oldest go while all files of the job take more")
    max_share: Share = Field(default=0.5, description="at most this share of all files goes in one run")
    empty_directories: Flag = Field(
        default=False, description="directories below the patterns' fixed part go as well once they are empty"
    )

    @rule(*_POLICY)
    def _deletes(self) -> str:
        return (
            "the policy is empty, so nothing would ever be deleted: set keep_last, keep_hourly … keep_yearly, "
            "max_age, max_count or max_total (keep_within only adds to them)"
            if self._policy().is_empty
            else ""
        )

    def plan(self, ctx: Context) -> Iterator[Step]:
        expansion = patterns.expand(self.paths, self.exclude, ours=True, own=ctx.own, barriers=mounts.points())
        yield from patterns.findings(expansion.misses, asked=isinstance(ctx.cause, Asked))
        if isinstance(ctx.cause, Asked) and ctx.cause.due_only:
            yield Finding(target=self.paths[0], reason="only the daemon knows whether it is due: left out by --due")
            return
        owners = ctx.claims.owners([_log(match.path) for match in expansion.matches], before="")
        found: dict[str, Seen] = {}
        for match in expansion.matches:
            owner = owners.get(_log(match.path))
            if owner:
                yield Finding(target=match.path, reason=f"belongs to {owner}, which looks after its generations")
            else:
                found[match.path] = Seen.of(match.path, match.stat)
        deletions = []
        for step in self._deletions(found, ctx):
            yield step
            if isinstance(step, Action):
                deletions.append(step)
        if self.empty_directories:
            yield from self._directories(expansion.directories, deletions, ctx)

    def relief(self, ctx: Context, wanted: Relief) -> Iterator[Step]:
        from maintd.actions.expire import ExpireFile, GiveUpFile  # noqa: PLC0415 - reading a config needs nothing that acts

        if wanted.means is not Means.EXPIRED:
            return
        for step in self.plan(replace(ctx, cause=Settling())):
            if isinstance(step, ExpireFile) and wanted.covers(step.target, step.seen.dev):
                yield GiveUpFile(target=step.target, reason=f"{wanted.reason}; {step.reason}", seen=step.seen)

    def _deletions(self, found: Mapping[str, Seen], ctx: Context) -> Iterator[Step]:
        from maintd.actions.expire import ExpireFile  # noqa: PLC0415 - reading a config does not need what deletes

        if ctx.clock_jumped:
            yield Finding(target=self.paths[0], reason="the clock has jumped: nothing goes by its age now")
        verdicts = retention.within_share(self._verdicts(found, ctx), self.max_share)
        judge = trust.Judge()
        for verdict in verdicts:
            path = verdict.generation.path
            if not verdict.kept:
                yield judge.finding(found[path]) or ExpireFile(target=path, reason=verdict.reason, seen=found[path])
            elif isinstance(ctx.cause, Asked):
                yield Finding(target=path, reason=f"kept: {verdict.reason}")
        left = [verdict.generation.size for verdict in verdicts if verdict.is_left]
        if left:
            event = ExpireLimited(target=self.paths[0], left=len(left), left_bytes=sum(left), share=self._share)
            yield Finding(target=self.paths[0], reason=event.msg, event=event)

    @property
    def _share(self) -> str:
        return f"{100 * self.max_share:.10g}%"

    def _verdicts(self, found: Mapping[str, Seen], ctx: Context) -> list[Verdict]:
        """What becomes of each file; only of those that would go it is asked whether a process has them open."""
        from maintd import writers  # noqa: PLC0415 - as above

        policy = self._policy().ageless() if ctx.clock_jumped else self._policy()
        groups: dict[str, dict[str, Generation]] = defaultdict(dict)
        for path, seen in found.items():
            time = dates.time_of(path, seen.mtime_ns, ctx.now, ctx.zone)
            groups[self._group(path)][path] = Generation(path, time, seen.size)
        asked: set[str] = set()
        while True:
            verdicts = retention.decide({name: own.values() for name, own in groups.items()}, policy, ctx.now, ctx.zone)
            unasked = [v.generation.path for v in verdicts if not v.kept and v.generation.path not in asked]
            held = [path for path in unasked if writers.is_open(found[path])]
            if not held:
                return verdicts
            asked.update(unasked)
            for path in held:
                group = groups[self._group(path)]
                group[path] = replace(group[path], held=True)

    def _group(self, path: str) -> str:
        directory, name = os.path.split(path)
        return directory if self.per == "directory" else os.path.join(directory, dates.log_of(name))

    def _policy(self) -> retention.Policy:
        return retention.Policy(
            keep_last=self.keep_last,
            keep_within=self.keep_within,
            max_age=self.max_age,
            max_total=self.max_total,
            keep_hourly=self.keep_hourly,
            keep_daily=self.keep_daily,
            keep_weekly=self.keep_weekly,
            keep_monthly=self.keep_monthly,
            keep_yearly=self.keep_yearly,
            max_count=self.max_count,
        )

    def _directories(self, seen: set[str], deletions: Sequence[Action], ctx: Context) -> Iterator[Step]:
        """Those in which this plan leaves nothing, and those that are empty for long; never the root of a pattern."""
        from maintd.actions.expire import RemoveDirectory  # noqa: PLC0415 - as above

        roots = {split(pattern).root for pattern in self.paths}
        going: dict[str, Action] = {deletion.target: deletion for deletion in deletions}
        removals: list[Action] = []
        for directory in sorted(seen - roots, key=lambda path: (-path.count("/"), path)):
            try:
                info, entries = _listed(directory)
            except (OSError, MaintdError):
                continue
            paths = [os.path.join(directory, entry) for entry in entries]
            age = ctx.now - datetime.fromtimestamp(info.st_mtime, UTC)
            is_old = age > _SETTLED and not ctx.clock_jumped
            if all(path in going for path in paths) and (paths or is_old):
                why = "nothing is left in it" if paths else "it has been empty for more than a day"
                needs = tuple(going[path] for path in paths)
                removal = RemoveDirectory(target=directory, reason=why, needs=needs, inode=(info.st_dev, info.st_ino))
                going[directory] = removal
                removals.append(removal)
        yield from removals


def _log(path: str) -> str:
    """The log that a file is, or is a generation of."""
    directory, name = os.path.split(path)
    parsed = names.parse_archive(name)
    return os.path.join(directory, parsed.log) if parsed else path


def _listed(directory: str) -> tuple[os.stat_result, list[str]]:
    from maintd import durable  # noqa: PLC0415 - as above

    with durable.directory(directory) as dir_fd:
        return os.fstat(dir_fd), os.listdir(dir_fd)
