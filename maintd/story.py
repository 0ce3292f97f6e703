"""The daemon's own story: its start, its config, its clock, its end."""

from typing import ClassVar

from maintd.events import Event, Failure
from maintd.units import counted
from maintd.values import dataclass

MOST_PROBLEMS = 50
"""How many of a config's problems become events; the answer to `maintd reload` has them all."""


@dataclass(frozen=True, kw_only=True)
class DaemonStarted(Event):
    """maintd is at work. `schema` is the version of the event format; `missing` are capabilities it would need.

    `unrotatable` are the first few logs that it cannot rotate without these, of `unrotatable_count`.
    """

    name: ClassVar[str] = "daemon.started"

    version: str
    pid: int
    host: str
    schema: int
    config: str
    jobs: int
    missing: str | None = None
    unrotatable: str | None = None
    unrotatable_count: int | None = None

    @property
    def msg(self) -> str:
        lacking = f"; it lacks {self.missing}" if self.missing else ""
        if self.unrotatable_count:
            lacking += f" and cannot rotate {counted(self.unrotatable_count, 'log')}: {self.unrotatable}"
        return f"maintd {self.version} started with {counted(self.jobs, 'job')} of {self.config}{lacking}"


@dataclass(frozen=True, kw_only=True)
class DaemonStopped(Event):
    """maintd has stopped in order. A step that was cut off is completed at the next start."""

    name: ClassVar[str] = "daemon.stopped"

    reason: str
    uptime_s: float

    @property
    def msg(self) -> str:
        return f"stopped: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class DaemonFailed(Failure):
    """A part of maintd has died; it ends, for supervisord to start it again."""

    name: ClassVar[str] = "daemon.failed"
    level: ClassVar[str] = "critical"


@dataclass(frozen=True, kw_only=True)
class ConfigReloaded(Event):
    """The config was read again, and what differs is in force."""

    name: ClassVar[str] = "config.reloaded"

    diff: str
    settings: str | None = None
    added: str | None = None
    changed: str | None = None
    removed: str | None = None

    @property
    def msg(self) -> str:
        parts = [
            ("settings", self.settings),
            ("added", self.added),
            ("changed", self.changed),
            ("removed", self.removed),
        ]
        named = "; ".join(f"{word} {names}" for word, names in parts if names)
        return f"{self.diff}{': ' if named else ''}{named}"


@dataclass(frozen=True, kw_only=True)
class ConfigRejected(Event):
    """The config on the disk cannot be used, so the one before stays in force."""

    name: ClassVar[str] = "config.rejected"
    level: ClassVar[str] = "error"

    errors: int
    advice: str

    @property
    def msg(self) -> str:
        return f"{counted(self.errors, 'error')}; the config before stays in force: {self.advice}"


@dataclass(frozen=True, kw_only=True)
class ConfigProblem(Event):
    """One error or warning of a config, with its place."""

    name: ClassVar[str] = "config.problem"
    level: ClassVar[str] = "error"

    problem: str

    @property
    def msg(self) -> str:
        return self.problem


@dataclass(frozen=True, kw_only=True)
class ClockJumped(Event):
    """The wall clock was set. Intervals are counted anew, and the next run of each job deletes nothing by age.

    After a leap of more than an hour there is a `clock.doubted` with it.
    """

    name: ClassVar[str] = "clock.jumped"
    level: ClassVar[str] = "warning"

    by_s: float

    @property
    def msg(self) -> str:
        way = "forward" if self.by_s > 0 else "back"
        return f"the clock was set {way} by {abs(self.by_s):.0f} s: nothing is deleted by age in the next runs"


@dataclass(frozen=True, kw_only=True)
class JobPaused(Event):
    """A person has paused a job, or all of them."""

    name: ClassVar[str] = "job.paused"

    until: str | None = None

    @property
    def msg(self) -> str:
        return f"paused until {self.until or 'it is resumed'}"


@dataclass(frozen=True, kw_only=True)
class JobResumed(Event):
    """A pause has ended."""

    name: ClassVar[str] = "job.resumed"

    @property
    def msg(self) -> str:
        return "goes on"


@dataclass(frozen=True, kw_only=True)
class SilenceBegun(Event):
    """A person wants to be told nothing about some jobs for a while; `target` is the pattern that names them."""

    name: ClassVar[str] = "silence.begun"

    until: str
    reason: str

    @property
    def msg(self) -> str:
        return f"nothing is told until {self.until}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, kw_only=True)
class SilenceEnded(Event):
    """A person has ended a silence; what is still wrong is told."""

    name: ClassVar[str] = "silence.ended"

    @property
    def msg(self) -> str:
        return "is told again"
