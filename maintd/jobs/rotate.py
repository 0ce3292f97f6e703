"""The kind `rotate`: sets logs aside when they are due or grown, tells their writers, compresses, keeps so many."""

import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from maintd import patterns
from maintd.accounts import Gid, Uid, UserName
from maintd.claims import Claim
from maintd.errors import MaintdError
from maintd.job import (
    AbsolutePath,
    Argv,
    Context,
    Count,
    FilePattern,
    Flag,
    Job,
    Level,
    Limit,
    Size,
    Span,
    Watched,
    gzip_level,
)
from maintd.keeping import Periods
from maintd.rules import Options, rule
from maintd.steps import Action, Finding, Lane, Step
from maintd.triggers import Asked, AskedBefore, Scheduled, Settling
from maintd.units import format_duration, format_size

if TYPE_CHECKING:
    from maintd.families import Family
    from maintd.room import Relief
    from maintd.rotation import Policy
    from maintd.supervisor import Supervisor


def _signal_number(name: str) -> str:
    short = name.upper().removeprefix("SIG")
    if f"SIG{short}" not in signal.Signals.__members__:
        raise ValueError(f"{name!r} is not a signal (write HUP, USR1, USR2, …)")
    if short in ("KILL", "STOP", "TERM", "QUIT", "INT", "ABRT"):
        raise ValueError(f"{name} ends or stops a process; choose the signal that makes it reopen its logs")
    return short


def _octal(mode: str) -> str:
    if not mode or len(mode) > 4 or mode.strip("01234567"):
        raise ValueError(f'{mode!r} is not a mode (write it in octal, as a string: "0640")')
    if int(mode, 8) & 0o7000:
        raise ValueError(f"{mode!r} has a set-id or sticky bit, which no log has: one that has is refused")
    return mode


class SignalOption(Options):
    """Which signal makes the writer reopen its logs, and to whom it goes."""

    name: Annotated[str, AfterValidator(_signal_number)] = Field(description='the signal: "HUP", "USR1", …')
    program: str | None = Field(default=None, min_length=1, description="a program of supervisord: group:name")
    pidfile: AbsolutePath | None = Field(default=None, description="a file that holds the writer's pid")

    @rule("program", "pidfile")
    def _one_recipient(self) -> str:
        is_one = (self.program is None) != (self.pidfile is None)
        return "" if is_one else "signal needs either program or pidfile, to say whom it goes to"


class Rotate(Periods, Job):
    """Rotates logs: each is renamed under a stamped name, its writer is told, and no line is lost.

    What was set aside is compressed as soon as nobody may write it, and deleted when the retention gives it up.
    """

    kind: ClassVar[str] = "rotate"
    lanes: ClassVar[tuple[Lane, ...]] = (Lane.ROTATE, Lane.HEAVY)
    due_from_disk: ClassVar[bool] = True

    paths: tuple[FilePattern, ...] = Field(min_length=1, description="the logs, by glob patterns")
    exclude: tuple[FilePattern, ...] = Field(default=(), description="patterns of files that are left alone")
    max_size: Limit | None = Field(default=None, description="rotate as soon as a log is larger than this")
    min_size: Size = Field(default=0, description="a trigger passes over a log smaller than this")
    min_age: Span | None = Field(default=None, description="a log is not rotated again sooner than this")
    skip_empty: Flag = Field(default=True, description="pass over empty logs")
    keep: Count | None = Field(default=None, description="how many generations of each log stay")
    keep_within: Span | None = Field(default=None, description="generations younger than this always stay")
    max_age: Span | None = Field(default=None, description="generations older than this go")
    max_total: Limit | None = Field(default=None, description="the oldest go while all archives of the job take more")
    compress: Literal["zstd", "gzip", "none"] = Field(default="zstd", description="how archives are compressed")
    level: Level | None = Field(default=None, description="the compression level; default: zstd 1, gzip 5")
    olddir: str | None = Field(
        default=None, min_length=1, description="where archives go: absolute, or relative to the log's directory"
    )
    create: Flag = Field(default=True, description="make the new log at once")
    mode: Annotated[str, AfterValidator(_octal)] | None = Field(
        default=None, description="the new log's mode, octal; default: the old one's"
    )
    owner: Uid | None = Field(default=None, description="the new log's owner; default: the old one's")
    group: Gid | None = Field(default=None, description="the new log's group; default: the old one's")
    reopen: Literal["auto", "supervisor", "signal", "command", "collapse", "none"] = Field(
        default="auto", description="how writers learn of it; auto: by who holds the log; collapse: rotated in place"
    )
    adopt: Flag = Field(
        default=False, description="a writer that cannot be told and does not append is made to, to rotate in place"
    )
    pause_writers: Flag = Field(
        default=False,
        description="where a log cannot be collapsed, its writers are stopped for the milliseconds in which it is cut",
    )
    lossy: Flag = Field(
        default=False, description="where nothing else is possible, cut the log although lines may be lost"
    )
    signal: SignalOption | None = Field(default=None, description="a signal that makes the writer reopen its logs")
    command: Argv | None = Field(default=None, description="a command that makes the writer reopen its logs")
    before: Argv | None = Field(default=None, description="a command run before anything is rotated; must succeed")
    after: Argv | None = Field(default=None, description="a command run after the logs were rotated")
    command_user: UserName | None = Field(
        default=None, description="the user that the commands run as, with its groups; default: maintd's own"
    )
    command_timeout: Span = Field(default=timedelta(seconds=10), description="the time limit of each command")

    _level_fits = gzip_level

    @rule("cron", "every", "max_size")
    def _is_ever_due(self) -> str:
        is_due = self.cron or self.every or self.max_size
        return "" if is_due else "nothing ever makes this job due: set cron, every or max_size"

    @rule("min_size", "max_size")
    def _sizes_meet(self) -> str:
        is_never = self.max_size is not None and self.min_size > self.max_size
        return "min_size is larger than max_size, so no log would ever be rotated by its size" if is_never else ""

    @rule("reopen", "signal")
    def _has_its_signal(self) -> str:
        is_lacking = self.reopen == "signal" and self.signal is None
        return 'reopen = "signal" needs signal = { name = "USR1", program = "group:name" }' if is_lacking else ""

    @rule("reopen", "command")
    def _has_its_command(self) -> str:
        is_lacking = self.reopen == "command" and self.command is None
        return 'reopen = "command" needs command = ["…"]' if is_lacking else ""

    @property
    def lanes_of_rest(self) -> frozenset[Lane]:
        """Both, if there are commands to be run once around the whole: then nothing is done by the quick run."""
        return frozenset(self.lanes if self.before or self.after else {Lane.HEAVY})

    def claims(self) -> Claim:
        fixed = self.olddir if self.olddir and self.olddir.startswith("/") else None
        return Claim(self.paths, self.exclude, fixed, self.olddir)

    def watched(self) -> tuple[Watched, ...]:
        return () if self.max_size is None else (Watched(self.paths, self.exclude, self.max_size),)

    def doubts(self, supervisor: "Supervisor") -> Iterator[tuple[str, str]]:
        commands = {"command": self.command, "before": self.before, "after": self.after}
        if not (any(commands.values()) or self.signal or self.olddir):
            return
        from maintd import absences  # noqa: PLC0415 - its libraries take 10 ms to load, which most configs do not need

        yield from absences.of_programs(commands)
        if self.signal:
            yield from absences.of_recipient(self.signal.program, self.signal.pidfile, supervisor)
        yield from absences.of_olddir(self.olddir)

    def plan(self, ctx: Context) -> Iterator[Step]:
        from maintd import families, rotation, rungs, settling  # noqa: PLC0415 - reading a config does not need what rotates

        policy = self._policy(ctx)
        found, misses = families.find(self.paths, self.exclude, self.olddir, ctx.own, owner=self.owner)
        owners = ctx.claims.owners([family.log for family in found], before=ctx.job)
        for log, owner in owners.items():
            yield Finding(target=log, reason=f"belongs to {owner}, which comes first in the config")
        mine = []
        for family in found:
            rival = "" if family.log in owners else self._rival(family, ctx)
            if rival and family.live and Lane.ROTATE in ctx.lanes:
                yield rotation.refused(family.log, rotation.shared(rival))
            elif not (rival or family.log in owners):
                mine.append(family)
        yield from self._interrupted(mine, ctx)
        rotated: list[Action] = []
        if Lane.ROTATE in ctx.lanes:
            yield from patterns.findings(misses, asked=isinstance(ctx.cause, Asked))
        for step in self._rotations(mine, policy, ctx):
            yield step
            if isinstance(step, Action):
                rotated.append(step)
        if Lane.HEAVY in ctx.lanes:
            yield from settling.plan_settling(mine, policy, rotated, ctx.now, by_age=not ctx.clock_jumped)
            yield from rungs.plan_confirmation(rotated, ctx.told, ctx.supervisor)

    def _rival(self, family: "Family", ctx: Context) -> str:
        """The job whose archives would lie among those of a log, if there is one."""
        from maintd.families import archive_directory  # noqa: PLC0415 - as above

        return ctx.claims.rival(family.log, archive_directory(family.log, self.olddir))

    def relief(self, ctx: Context, wanted: "Relief") -> Iterator[Step]:
        from maintd import families, relieving  # noqa: PLC0415 - as above

        found, _ = families.find(self.paths, self.exclude, self.olddir, ctx.own, owner=self.owner)
        owners = ctx.claims.owners([family.log for family in found], before=ctx.job)
        mine = [family for family in found if family.log not in owners and not self._rival(family, ctx)]
        for _ in self._interrupted(mine, ctx):
            pass
        yield from relieving.of_logs(mine, self._policy(ctx), ctx.now, wanted, by_age=not ctx.clock_jumped)

    def _interrupted(self, mine: "list[Family]", ctx: Context) -> Iterator[Step]:
        """Adds the rotations in place that were cut off, of logs that no job names any more too."""
        from maintd import intents  # noqa: PLC0415 - as above
        from maintd.families import Family  # noqa: PLC0415 - as above

        try:
            found = intents.interrupted(ctx.intents) if ctx.intents else []
        except (OSError, MaintdError) as error:
            yield Finding(target=ctx.intents, reason=f"interrupted rotations cannot be read: {error}")
            return
        by_log = {family.log: family for family in mine}
        for one in found:
            if one.log not in by_log and ctx.claims.responsible(one.log) == ctx.job:
                by_log[one.log] = Family(one.log)
                mine.append(by_log[one.log])
            if one.log in by_log:
                by_log[one.log].interrupted.append(one)

    def _rotations(self, mine: "list[Family]", policy: "Policy", ctx: Context) -> Iterator[Step]:
        from maintd import rotation  # noqa: PLC0415 - as above

        if Lane.ROTATE in ctx.lanes:
            yield from rotation.plan_recovery(mine)
        due: list[tuple[Family, str]] = []
        for family in mine:
            if family.live is None or isinstance(ctx.cause, Settling):
                continue
            reason = self._due(family, ctx)
            hindrance = self._hindrance(family, ctx.now)
            if reason and not hindrance:
                due.append((family, reason))
            elif isinstance(ctx.cause, Asked) and Lane.ROTATE in ctx.lanes:
                yield Finding(target=family.log, reason=f"not rotated: {hindrance or 'not due'}")
        yield from rotation.plan_rotation(due, policy, ctx.now, mine, ctx.lanes)

    def _due(self, family: "Family", ctx: Context) -> str:
        """Why the log is due, or nothing."""
        assert family.live is not None
        size = family.live.size
        if self.max_size is not None and size > self.max_size:
            return f"{format_size(size)} is more than max_size {format_size(self.max_size)}"
        newest = family.newest(ctx.now)
        match ctx.cause:
            case Scheduled(slot, catch_up):
                is_due = newest < slot if newest else not catch_up
                return str(ctx.cause) if is_due else ""
            case Asked(due_only=False):
                return "asked"
            case Asked(due_only=True):
                return self._missed(newest, ctx)
            case AskedBefore(logs):
                is_left = any(log == family.log and (newest is None or newest < asked) for log, asked in logs)
                return str(ctx.cause) if is_left else ""
        return ""

    def _missed(self, newest: datetime | None, ctx: Context) -> str:
        if newest is None:
            return ""
        if self.cron is not None and newest < (slot := self.cron.previous(ctx.now, ctx.zone)):
            return f"due since {slot:%Y-%m-%d %H:%M}"
        if self.every is not None and ctx.now - newest >= self.every:
            return f"rotated more than {format_duration(self.every)} ago"
        return ""

    def _hindrance(self, family: "Family", now: datetime) -> str:
        """What speaks against rotating the log now, or nothing."""
        assert family.live is not None
        newest = family.newest(now)
        if family.live.size == 0 and self.skip_empty:
            return "it is empty"
        if family.live.size < self.min_size:
            return f"{format_size(family.live.size)} is less than min_size {format_size(self.min_size)}"
        if self.min_age is not None and newest is not None and now - newest < self.min_age:
            return f"it was rotated less than min_age {format_duration(self.min_age)} ago"
        return ""

    def _policy(self, ctx: Context) -> "Policy":
        from maintd import retention  # noqa: PLC0415 - as above
        from maintd.rotation import Policy  # noqa: PLC0415 - as above
        from maintd.rungs import Reopening, SignalTo  # noqa: PLC0415 - as above

        to = self.signal
        number = signal.Signals[f"SIG{to.name}"] if to else 0
        return Policy(
            reopening=Reopening(
                mode=self.reopen,
                signal=SignalTo(number, to.program, to.pidfile) if to else None,
                command=self.command,
                user=self.command_user,
                adopt=self.adopt,
                pause_writers=self.pause_writers,
                lossy=self.lossy,
                supervisor=ctx.supervisor,
            ),
            retention=retention.Policy(
                keep_last=self.keep,
                keep_within=self.keep_within,
                max_age=self.max_age,
                max_total=self.max_total,
                keep_hourly=self.keep_hourly,
                keep_daily=self.keep_daily,
                keep_weekly=self.keep_weekly,
                keep_monthly=self.keep_monthly,
                keep_yearly=self.keep_yearly,
            ),
            codec=self.compress,
            level=self.level,
            olddir=self.olddir,
            create=self.create,
            mode=None if self.mode is None else int(self.mode, 8),
            uid=self.owner,
            gid=self.group,
            before=self.before,
            after=self.after,
            user=self.command_user,
            limit=self.command_timeout,
            intents=ctx.intents,
            zone=ctx.zone,
        )
