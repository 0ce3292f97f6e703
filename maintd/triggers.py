"""Why a job is due, Cause and Due, and what the run before it leaves to it: Told."""

from datetime import datetime

from maintd.values import dataclass


@dataclass(frozen=True)
class Scheduled:
    """A cron or every trigger fired for `slot` (aware). `catch_up` if the slot passed while nobody was running."""

    slot: datetime
    catch_up: bool = False

    def __str__(self) -> str:
        return f"{'missed' if self.catch_up else 'due'} at {self.slot:%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class Grown:
    """These logs passed the job's max_size."""

    paths: frozenset[str]

    def __str__(self) -> str:
        return "grown"


@dataclass(frozen=True)
class Asked:
    """A person asked: everything the job's conditions allow, or with `due_only` only what is due."""

    due_only: bool = False

    def __str__(self) -> str:
        return "asked"


@dataclass(frozen=True)
class Settling:
    """What an earlier run set aside may be ready now: compress and expire, rotate nothing."""

    def __str__(self) -> str:
        return "settling"


@dataclass(frozen=True)
class AskedBefore:
    """A person asked for these logs, each as (log, when) by an aware time, and they were put off or failed then."""

    logs: frozenset[tuple[str, datetime]]

    def __str__(self) -> str:
        return "asked before"


@dataclass(frozen=True)
class Low:
    """A file system has less free than it is to have, or will in a moment; `wanted` bytes are to be free afterwards,
    and so many `inodes`.

    0 is for a directory that takes more than it may, which can wait for long work.
    """

    wanted: int
    inodes: int = 0

    def __str__(self) -> str:
        return "low"


@dataclass(frozen=True)
class Excess:
    """A program whose process `pid` was over a limit, as often as that takes, in words."""

    program: str
    pid: int
    text: str


@dataclass(frozen=True)
class Over:
    """Programs take more than they may."""

    excesses: tuple[Excess, ...]

    def __str__(self) -> str:
        return "over the limit"


@dataclass(frozen=True)
class Fallen:
    """supervisord has given these programs up (FATAL)."""

    programs: tuple[str, ...]

    def __str__(self) -> str:
        return "given up by supervisord"


Cause = Scheduled | Grown | Asked | Settling | AskedBefore | Low | Over | Fallen


@dataclass(frozen=True)
class Told:
    """Who was told to open some logs anew, each as (log, archive) by path: it is to be seen whether that was heard.

    `pid` with its `start` and `uid` is the process that wrote them, 0 if that is not known. `is_supervisord` says that
    it was supervisord, which writes what its programs say.
    """

    who: str
    logs: tuple[tuple[str, str], ...]
    pid: int = 0
    start: int = 0
    uid: int = 0
    is_supervisord: bool = False


@dataclass(frozen=True)
class Due:
    """The job of this name (`kind.name`) is to run, for this cause; with `rest`, that part of it which is long work."""

    job: str
    cause: Cause
    rest: bool = False
    told: tuple[Told, ...] = ()
