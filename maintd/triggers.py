"""Why a job is due: Cause and Due."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A cron or every trigger fired for `slot` (aware). `catch_up` if the slot passed while nobody was running."""

    slot: datetime
    catch_up: bool = False

    def __str__(self) -> str:
        return f"{'missed' if self.catch_up else 'due'} at {self.slot:%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True)
class Grown:
    """These logs passed the job's max_size."""

    paths: frozenset[str]

    def __str__(self) -> str:
        return "grown"


@dataclass(frozen=True, slots=True)
class Asked:
    """A person asked: everything the job's conditions allow, or with `due_only` only what is due."""

    due_only: bool = False

    def __str__(self) -> str:
        return "asked"


@dataclass(frozen=True, slots=True)
class Settling:
    """What an earlier run set aside may be ready now: compress and expire, rotate nothing."""

    def __str__(self) -> str:
        return "settling"


Cause = Scheduled | Grown | Asked | Settling


@dataclass(frozen=True, slots=True)
class Due:
    """The job of this name (`kind.name`) is to run, for this cause; with `rest`, that part of it which is long work."""

    job: str
    cause: Cause
    rest: bool = False
