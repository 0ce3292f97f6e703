"""What a Job is: a frozen model whose fields are its options and whose `plan` says what it would do."""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, Strict
from pydantic_core import core_schema

from maintd.claims import Claim, Claims
from maintd.cron import Cron
from maintd.limits import Ceiling
from maintd.own_files import OwnFiles
from maintd.room import Floor, Relief
from maintd.rules import Options, rule
from maintd.silent import Silent
from maintd.steps import Lane, Step
from maintd.stores import Store
from maintd.supervisor import Program, Supervisor
from maintd.timing import Window
from maintd.trends import Sample
from maintd.triggers import Cause, Told
from maintd.units import LARGEST, format_duration, parse_duration, parse_share, parse_size
from maintd.values import dataclass
from maintd.written import Written

if TYPE_CHECKING:
    from maintd.budget import Budget
    from maintd.child import Worker
    from maintd.crew import Crew


def absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is not an absolute path: a daemon has no working directory of yours")
    if "\0" in path:
        raise ValueError("a path cannot hold a NUL byte")
    return path


def _of_files(pattern: str) -> str:
    if pattern.endswith("/"):
        raise ValueError(f"{pattern!r} names a directory: end it with a pattern for the files in it, such as *.log")
    return pattern


def _span(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf:
        units = f"{value}s, {value}m, {value}h or {value}d"
        raise ValueError(f"{value} is not a duration: it needs a unit (write {units})")
    return parse_duration(value) if isinstance(value, str) else value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta():
        raise ValueError("must be longer than nothing")
    return value


def _interval(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        raise ValueError("must be at least 1s")
    return value


def _bytes(value: Any) -> Any:
    if isinstance(value, (bool, float)):
        raise ValueError(f"{value} is not a size (write bytes, or 10K, 10M, 10G, 10MiB, 10MB)")  # noqa: TRY004 - as above
    if isinstance(value, int) and value > LARGEST:
        raise ValueError("is larger than a file can be")
    return parse_size(value) if isinstance(value, str) else value


def _percentage(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        meant = f"{100 * value:g}" if 0 < value <= 1 else value
        raise ValueError(f'{value} is not a share: write it as a percentage, as a string: "{meant}%"')  # noqa: TRY004 - as above
    return parse_share(value) if isinstance(value, str) else value


def _parsed(kind: type[Cron | Window]) -> Written:
    parse = lru_cache(maxsize=1024)(kind.parse)  # many jobs share few of them
    instance = core_schema.is_instance_schema(kind)
    return Written(lambda value: parse(value) if isinstance(value, str) else value, instance, {"type": "string"}, str)


_DURATION = {"type": "string", "pattern": r"^(\d+(\.\d+)?(us|ms|s|m|h|d|w) ?)+$"}
_SHARE = {"type": "string", "pattern": r"^\d+(\.\d+)? ?%$"}

AbsolutePath = Annotated[str, AfterValidator(absolute)]
FilePattern = Annotated[AbsolutePath, AfterValidator(_of_files)]
Size = Annotated[int, Written(_bytes, core_schema.int_schema(ge=0), {"type": ["integer", "string"]})]
Age = Annotated[timedelta, Written(_span, core_schema.timedelta_schema(), _DURATION, format_duration)]
Span = Annotated[Age, AfterValidator(_positive)]
Interval = Annotated[Age, AfterValidator(_interval)]
CronField = Annotated[Cron, _parsed(Cron)]
WindowField = Annotated[Window, _parsed(Window)]
Limit = Annotated[Size, Field(gt=0)]
Share = Annotated[float, Written(_percentage, core_schema.float_schema(), _SHARE, lambda share: f"{100 * share:.10g}%")]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=1)]
Level = Annotated[int, Strict(), Field(ge=1, le=19)]


@rule("level", "compress")
def gzip_level(job: Any) -> str:
    """For the kinds that have both options."""
    return "level goes from 1 to 9 with gzip" if job.compress == "gzip" and (job.level or 0) > 9 else ""


Argv = Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Watched:
    """Files, by glob patterns, that make a job due as soon as one is larger than `max_size` bytes; none of `own`.

    A file that several groups of a job name goes by the first of them. Those of a group without a limit are not
    watched.
    """

    paths: tuple[str, ...]
    exclude: tuple[str, ...]
    max_size: int | None
    own: OwnFiles = field(default_factory=OwnFiles)


@dataclass(frozen=True)
class Context:
    """What a plan is made from, for the job of this name. `now` is aware; `zone` is that of cron.

    `lanes` says which parts of the work are wanted; after a `clock_jumped` nothing goes by age, of the jobs in
    `doubted` in any case, and by `clock_away` seconds the clock is doubted. No pattern names a file that is maintd's
    `own`. `intents` is the directory for those of rotations in place, `stores` that for object stores. `told` are those
    whom the run before this one told. `history` is what the job's earlier runs have measured, oldest first. `jobs` are
    all that are enabled, by name. Those that are `paused` give up nothing to a guard; of those in `given_up` guards
    have deleted so many files since their own last run. `silent` are object stores that a guard does not ask. `memory`
    is what a check keeps between its looks, `worker` a child process for it; `stopped` are, by program, the processes
    that somebody has asked supervisord to stop.
    """

    now: datetime
    cause: Cause
    zone: tzinfo = UTC
    lanes: frozenset[Lane] = frozenset(Lane)
    supervisor: Supervisor = field(default_factory=lambda: Supervisor(""))
    claims: Claims = field(default_factory=lambda: Claims(()))
    own: OwnFiles = field(default_factory=OwnFiles)
    intents: str = ""
    clock_jumped: bool = False
    doubted: AbstractSet[str] = frozenset()
    clock_away: float = 0.0
    told: tuple[Told, ...] = ()
    job: str = ""
    stores: str = ""
    history: tuple[Sample, ...] = ()
    jobs: Mapping[str, "Job"] = field(default_factory=dict)
    paused: AbstractSet[str] = frozenset()
    given_up: Mapping[str, int] = field(default_factory=dict)
    silent: Silent = field(default_factory=Silent, compare=False)
    memory: dict[str, Any] = field(default_factory=dict, compare=False)
    worker: "Worker | Crew | None" = field(default=None, compare=False)
    stopped: Mapping[str, tuple[int, ...]] = field(default_factory=dict, compare=False)


class Job(Options):
    """A configured piece of upkeep. Each kind is one subclass in its own file under jobs/, found by scanning.

    A job without `lanes` only looks: it runs beside them, never behind upkeep.
    """

    kind: ClassVar[str]
    lanes: ClassVar[tuple[Lane, ...]] = (Lane.HEAVY,)
    due_from_disk: ClassVar[bool] = False
    has_other_files: ClassVar[bool] = False
    """Whether other files than the config say what it does, which are read anew at each run, and by a reload."""
    is_due_by_itself: ClassVar[bool] = False
    """Whether something makes it due also without `cron` and `every`."""
    due_when: ClassVar[str] = ""
    """What makes it due by itself, in words, where no option of its own says so."""
    follows_programs: ClassVar[bool] = False
    """Whether it goes by how supervisord's programs are, so that these are followed."""
    takes_archives: ClassVar[bool] = False
    """Whether what it takes may be what a rotation has set aside."""
    remembers: ClassVar[bool] = False
    """Whether what its runs measure is remembered; of a guard, where its file system was mounted."""
    measures: ClassVar[bool] = False
    """Whether what its runs remember are sizes, for trends."""
    is_tried_again: ClassVar[bool] = True
    """Whether a run of the schedule that failed is tried again before the next one is due."""
    is_urgent: ClassVar[bool] = False
    """Whether it does not wait for long work: that is broken off, and begun anew afterwards."""

    enabled: Flag = Field(default=True, description="false keeps the job in the file and does not run it")
    cron: CronField | None = Field(
        default=None, description='when, as in crontab(5): "0 0 * * *", "@daily", "30 2 * * mon-fri"'
    )
    every: Interval | None = Field(default=None, description='an interval between runs: "15m", "6h", "1d"')
    spread: Span | None = Field(
        default=None, description="delay runs by a fixed share of this, different on each host and for each job"
    )
    window: WindowField | None = Field(
        default=None, description='the time of day in which runs may start: "01:00-05:00"; runs due outside wait for it'
    )
    timeout: Span | None = Field(default=None, description="a run that takes longer is ended, and is a failure")
    severity: Literal["warning", "error", "critical"] = Field(
        default="error", description="the level of this job's failures"
    )
    ping: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="a URL that is fetched after each run that the schedule started or that had something to do "
        "(with /fail appended after a failed one), but not while something waits",
    )
    ping_start: Flag = Field(
        default=False,
        description="also tells the ping URL of the start of each run of the schedule (/start), and of its exit "
        "code (/0, /1, /5), with the run as rid: as Healthchecks takes them",
    )
    observe: Flag = Field(default=False, description="plan and report, change nothing")

    @rule("cron", "every")
    def _is_ever_due(self) -> str:
        is_due = self.cron or self.every or self.is_due_by_itself
        return "" if is_due else "nothing ever makes this job due: set cron or every"

    @cached_property
    def digest(self) -> str:
        """Equal for equal options: tells whether a daemon runs a job as a file has it."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def main_lane(self) -> Lane:
        """Where a run of the whole job takes its turn."""
        return self.lanes[-1]

    @property
    def lanes_of_rest(self) -> frozenset[Lane]:
        """The parts of the work that a run is for to which another, for the quick part alone, has left something."""
        return frozenset({Lane.HEAVY})

    def plan(self, ctx: Context) -> Iterator[Step]:
        """The steps of a run, read off the machine, which it must not change."""
        raise NotImplementedError

    def alone(self) -> AbstractContextManager[object]:
        """What a run holds while it plans and acts, so that another program does not work on the same.

        Raises Locked if one does; OSError or MaintdError if that cannot be known.
        """
        return nullcontext()

    def outlook(self) -> Iterator[str]:
        """What it comes to on this machine now, a line each; for `maintd check`."""
        return iter(())

    def doubts(self, _supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        """What its options name that is not there on this machine now, as (option, message); for `maintd check`."""
        return iter(())

    def remark(self, _ctx: Context) -> str:
        """What is to be said of what it looks after, read off the machine after a run, for status; mostly nothing."""
        return ""

    def claims(self) -> Claim | None:
        """The logs that this job alone may rotate, if any; the first job in file order owns what two claim."""
        return None

    def keeps(self, _name: str) -> OwnFiles:
        """What it has made on this machine that no pattern of a job may name; its own name is `_name`."""
        return OwnFiles()

    def relief(self, _ctx: Context, _wanted: Relief) -> Iterator[Step]:
        """Steps that free space on a file system that runs full, the first ones first; a guard asks for them."""
        return iter(())

    def floor(self) -> Floor | None:
        """What is to stay free on a file system: this job is due as soon as it is not."""
        return None

    def budget(self) -> "Budget | None":
        """What a directory may take on the disk: this job is due as soon as it takes more."""
        return None

    def ceiling(self) -> Ceiling | None:
        """What a program may take: this job is due as soon as it takes more, as often as that says."""
        return None

    def revives(self, _program: Program) -> bool:
        """Whether a program is to be started again as it is now: this job is due then."""
        return False

    def watched(self) -> tuple[Watched, ...]:
        """The files whose growth makes this job due, in groups, each with a limit of its own."""
        return ()

    def archive(self) -> Store | None:
        """The archive that this job puts files into, if it does."""
        return None

    def stored_as(self, path: str) -> str:
        """The name that a file would get in its archive, if no other has it."""
        return os.path.basename(path)

    def takes(self) -> Claim | None:
        """The files that it changes, moves or removes, if it does; not those that it only copies."""
        return self.claims()

    def makes(self, _pattern: str) -> tuple[str, ...]:
        """What it makes, where they are, of the files that a pattern names: by patterns."""
        return ()
