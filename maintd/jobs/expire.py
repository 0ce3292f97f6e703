"""The kind `expire`: deletes old files by count, period, age and size, with a guard before each way that goes wrong."""

import os
import stat as st
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from maintd import dates, grounds, mounts, names, patterns, retention, trust
from maintd.claims import Claim
from maintd.errors import MaintdError
from maintd.job import Context, FilePattern, Flag, Job
from maintd.keeping import Keeping
from maintd.matching import split
from maintd.retention import Generation, Verdict
from maintd.room import Means, Relief
from maintd.rules import rule
from maintd.steps import Action, Finding, Seen, Step
from maintd.triggers import Asked, Settling
from maintd.values import completed

_SETTLED = timedelta(days=1)
"""An empty directory that was changed within this time may be one that somebody has just made for use."""
_POLICY = tuple(field.name for field in fields(completed(retention.Policy)))


class ExpireFiles(Keeping, Job):
    """Deletes the files that no rule keeps: by count, by period, by age, by size; per directory or per log.

    The newest of each group never goes, nor what a process has open, and at most half of all in one run.
    """

    kind: ClassVar[str] = "expire"
    takes_archives: ClassVar[bool] = True

    paths: tuple[FilePattern, ...] = Field(min_length=1, description="the files, by glob patterns")
    exclude: tuple[FilePattern, ...] = Field(default=(), description="patterns of files that are left alone")
    empty_directories: Flag = Field(
        default=False, description="directories below the patterns' fixed part go as well once they are empty"
    )

    @rule(*_POLICY)
    def _deletes(self) -> str:
        return (
            "the policy is empty, so nothing would ever be deleted: set keep_last, keep_hourly … keep_yearly, "
            "max_age, max_count or max_total (keep_within only adds to them)"
            if self.retention().is_empty
            else ""
        )

    def takes(self) -> Claim:
        return Claim(self.paths, self.exclude)

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
            if os.path.basename(match.path) == names.MANIFEST:
                yield Finding(target=match.path, reason="it is the manifest of an archive")
            elif owner:
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
        from maintd.actions.expire import ExpireFile, ExpireLimited, GiveUpFile  # noqa: PLC0415 - reading a config needs nothing that acts

        if wanted.means is not Means.EXPIRED:
            return
        for step in self.plan(replace(ctx, cause=Settling())):
            if isinstance(step, ExpireFile) and wanted.covers(step.target, step.seen.dev):
                reason = f"{wanted.reason}; {step.reason}"
                yield GiveUpFile(target=step.target, reason=reason, seen=step.seen, giver=ctx.job)
            elif isinstance(step, Finding) and isinstance(step.event, ExpireLimited) and self._is_on(wanted.device):
                yield replace(
                    step, event=None, reason=f"{step.reason}, and guards take that once between two of its own"
                )

    def _is_on(self, device: int) -> bool:
        places = (grounds.identity(split(pattern).root) for pattern in self.paths)
        return any(place is not None and place[0] == device for place in places)

    def _deletions(self, found: Mapping[str, Seen], ctx: Context) -> Iterator[Step]:
        from maintd import writers  # noqa: PLC0415 - reading a config does not need what deletes
        from maintd.actions.expire import ExpireFile, ExpireLimited  # noqa: PLC0415 - as above

        if ctx.clock_jumped:
            yield Finding(target=self.paths[0], reason="the clock has jumped: nothing goes by its age now")
        verdicts: list[Verdict] = []
        for own in _by_owner(found):
            files = (
                (self.group(path), Generation(path, dates.time_of(path, seen.mtime_ns, ctx.now, ctx.zone), seen.size))
                for path, seen in own.items()
            )
            verdicts += self.verdicts(files, ctx, lambda path: writers.is_open(found[path]))
        judge = trust.Judge()
        for verdict in verdicts:
            path = verdict.generation.path
            if not verdict.kept:
                yield judge.finding(found[path]) or ExpireFile(target=path, reason=verdict.reason, seen=found[path])
            elif isinstance(ctx.cause, Asked):
                yield Finding(target=path, reason=f"kept: {verdict.reason}")
        left = list(self.left(verdicts))
        if left:
            event = ExpireLimited(target=self.paths[0], left=len(left), left_bytes=sum(left), share=self.share_said)
            yield Finding(target=self.paths[0], reason=event.msg, event=event)

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
            age = ctx.now - dates.moment(info.st_mtime_ns)
            is_old = age > _SETTLED and not ctx.clock_jumped
            if all(path in going for path in paths) and (paths or is_old):
                why = "nothing is left in it" if paths else "it has been empty for more than a day"
                needs = tuple(going[path] for path in paths)
                removal = RemoveDirectory(target=directory, reason=why, needs=needs, inode=(info.st_dev, info.st_ino))
                going[directory] = removal
                removals.append(removal)
        yield from removals


def _by_owner(found: Mapping[str, Seen]) -> Iterable[Mapping[str, Seen]]:
    """The files in parts, in each of which all rules count.

    In a directory where anybody may add files, and remove only their own (sticky), what one user adds is not to have
    another's deleted.
    """
    parts: dict[int | None, dict[str, Seen]] = defaultdict(dict)
    is_sticky: dict[str, bool] = {}
    for path, seen in found.items():
        directory = os.path.dirname(path)
        if directory not in is_sticky:
            is_sticky[directory] = _is_sticky(directory)
        parts[seen.uid if is_sticky[directory] else None][path] = seen
    return parts.values()


def _is_sticky(directory: str) -> bool:
    try:
        mode = os.stat(directory).st_mode
    except OSError:  # it has gone: there is nothing to delete in it
        return False
    return bool(mode & st.S_ISVTX and mode & (st.S_IWGRP | st.S_IWOTH))


def _log(path: str) -> str:
    """The log that a file is, or is a generation of."""
    directory, name = os.path.split(path)
    parsed = names.parse_archive(name)
    return os.path.join(directory, parsed.log) if parsed else path


def _listed(directory: str) -> tuple[os.stat_result, list[str]]:
    from maintd import durable  # noqa: PLC0415 - as above

    with durable.directory(directory) as dir_fd:
        return os.fstat(dir_fd), os.listdir(dir_fd)
