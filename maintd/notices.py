"""What an event means to whoever is alerted: that something is wrong, that it is over, or nothing."""

from typing import TYPE_CHECKING

from maintd.events import LEVELS, Event
from maintd.names import legible, printable
from maintd.values import dataclass

if TYPE_CHECKING:
    from maintd.log import Envelope

LEAST = LEVELS.index("warning")
_RAISE_FOR_JOB = ("check.failed", "check.degraded", "check.flapping", "check.unknown")
_PAIRS = {
    "limit.exceeded": "limit",
    "limit.spent": "limit",
    "limit.failed": "limit",
    "limit.ok": "limit",
    "program.failed": "restart",
    "program.started": "restart",
    "program.restarted": "restart",
    "program.signalled": "restart",
    "storage.low": "storage",
    "guard.spent": "storage",
    "storage.ok": "storage",
    "storage.failed": "storage",
    "directory.over": "directory",
    "directory.spent": "directory",
    "directory.failed": "directory",
    "directory.ok": "directory",
}
"""Events of jobs that tell of a thing of their own, which is over by another event, and not when a run goes well."""
_PROGRAMS = ("program.crashed", "program.fatal", "program.recovered", "program.changed")
_OF_MAINTD = {
    "cascade.began": "cascade",
    "cascade.ended": "cascade",
    "clock.doubted": "clock",
    "clock.trusted": "clock",
    "config.rejected": "config",
    "config.reloaded": "config",
    "supervisor.failed": "supervisor",
    "supervisor.recovered": "supervisor",
}
PARTS = frozenset(_OF_MAINTD.values())
"""The parts of maintd that an alert may be about."""
_OVER = (
    "check.recovered",
    "limit.ok",
    "program.started",
    "program.restarted",
    "program.signalled",
    "program.recovered",
    "storage.ok",
    "directory.ok",
    "clock.trusted",
    "cascade.ended",
    "config.reloaded",
    "supervisor.recovered",
)
_WORSE = ("limit.spent", "guard.spent", "directory.spent", "program.fatal")
"""What is told, once, although the same thing was told before at the same level."""
_NEVER = ("job.finished", "config.problem", "clock.jumped", "action.waiting", "rotate.waiting")
"""Warnings that belong to another event, or that need nobody."""


@dataclass(frozen=True)
class Notice:
    """Something is wrong, or over (`is_over`). The same `key` is the same thing.

    All of it is safe to keep and to pass on, whatever others have called their files, or have written.
    `name` is what patterns of routes and silences go by: a job, "program.GROUP:NAME", or a part of maintd. What `fades`
    has no event that ends it: it counts as over when it was not heard of for a while. What is over `ends` also what has
    a key with this end.
    """

    key: str
    name: str
    level: str
    title: str
    text: str
    is_over: bool = False
    fades: bool = False
    is_worse: bool = False
    ends: str = ""


def notice(event: Event, envelope: "Envelope") -> Notice | None:
    """What an event means; None if it needs nobody."""
    level = envelope.level or event.level
    is_over = event.name in _OVER or (event.name == "program.changed" and getattr(event, "was", "") == "failed")
    if event.name == "job.failed" and (envelope.job or "").startswith("check."):
        return None  # one look broke off: the check is unknown for that, and says so itself if it goes on
    if event.name in _NEVER or event.name.startswith("alert.") or not (is_over or LEVELS.index(level) >= LEAST):
        return None
    key, name, fades = _key(event, envelope.job)
    target = f" {event.target}" if event.target and name != f"program.{event.target}" else ""
    title = f"{name}{target}: {event.name}"
    ends = ""
    if is_over and event.name in ("limit.ok", *_PROGRAMS):
        ends = f"{envelope.job} restart {event.target}"  # whoever tried in vain to restart it need not any more
    return Notice(
        printable(key),
        printable(name),
        level,
        legible(title),
        legible(event.msg),
        is_over,
        fades,
        event.name in _WORSE,
        printable(ends),
    )


def _key(event: Event, job: str) -> tuple[str, str, bool]:
    """What it is about: the key, the name, and whether nothing will tell that it is over."""
    if event.name in _RAISE_FOR_JOB or event.name == "check.recovered":
        return job, job, False
    if event.name in _PAIRS and job:
        return f"{job} {_PAIRS[event.name]} {event.target}", job, False
    if event.name in _PROGRAMS:
        name = f"program.{event.target}"
        return name, name, False
    if event.name in _OF_MAINTD:
        return _OF_MAINTD[event.name], _OF_MAINTD[event.name], False
    if job and event.name.endswith(".failed") and event.name != "ping.failed":
        return job, job, False  # over when a run of the job goes well
    name = job or event.name
    return f"{event.name} {job} {event.target}", name, True
