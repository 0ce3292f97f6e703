"""What a config comes to on this machine: when each job runs, and which files it names now."""

import socket
from datetime import datetime, timedelta
from typing import Any

from maintd import contexts, patterns
from maintd.config import Config
from maintd.job import Job
from maintd.own_files import OwnFiles
from maintd.patterns import Expansion
from maintd.timing import Timing, upcoming
from maintd.units import format_duration, format_size
from maintd.values import dataclass


@dataclass(frozen=True)
class Prospect:
    """One job: when it runs, in words, its next three runs, and its files; None if its kind names none."""

    name: str
    job: Job
    when: str
    next: tuple[datetime, ...]
    files: Expansion | None

    @property
    def count(self) -> str:
        return "" if self.files is None else str(len(self.files.matches))

    @property
    def moments(self) -> tuple[str, ...]:
        """The next runs for people: with seconds where minutes would not do, and the offset where the clocks change."""
        is_fine = self.job.every is not None and self.job.every.total_seconds() % 60 != 0
        clock = "%Y-%m-%d %H:%M:%S" if is_fine else "%Y-%m-%d %H:%M"
        return tuple(f"{run:{clock}}{run.isoformat()[-6:] if _changes(run) else ''}" for run in self.next)

    def fields(self) -> dict[str, Any]:
        """The prospect for programs."""
        return {
            "name": self.name,
            "enabled": self.job.enabled,
            "when": self.when,
            "next": [run.isoformat() for run in self.next],
            "files": None if self.files is None else len(self.files.matches),
            "outlook": list(self.job.outlook()),
        }


def _changes(run: datetime) -> bool:
    """Whether the clocks of its zone change on the day of a run."""
    midnight = run.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return midnight.utcoffset() != (midnight + timedelta(days=1)).utcoffset()


def prospects(config: Config, now: datetime) -> list[Prospect]:
    """What is to be expected of each job from `now` (aware) on. Reads the disk."""
    local, host = now.astimezone(contexts.zone(config)), socket.gethostname()
    return [_prospect(name, job, local, host, config.own) for name, job in config.jobs.items()]


def _prospect(name: str, job: Job, now: datetime, host: str, own: OwnFiles) -> Prospect:
    files = _files(job, own)
    if not job.enabled:
        return Prospect(name, job, "disabled", (), files)
    timing = Timing(job.cron, job.every, job.spread, job.window)
    return Prospect(name, job, _when(job), tuple(upcoming(timing, now, host=host, job=name)), files)


def _files(job: Job, own: OwnFiles) -> Expansion | None:
    """What the patterns of a job name: its `paths` and `exclude`, as the kinds call them, or what it claims.

    Of the latter it is no miss that nothing is there.
    """
    paths = getattr(job, "paths", None)
    if paths is not None:
        return patterns.expand(paths, getattr(job, "exclude", ()), own=own)
    claim = job.claims()
    if claim is None:
        return None
    found = patterns.expand(claim.paths, claim.exclude, own=own)
    found.misses.clear()
    return found


def _when(job: Job) -> str:
    parts = [f"{job.cron.words} ({job.cron})"] if job.cron else []
    parts += [f"every {format_duration(job.every)}"] if job.every else []
    limits = sorted({group.max_size for group in job.watched() if group.max_size is not None})
    sizes = " to ".join(format_size(limit) for limit in dict.fromkeys([*limits[:1], *limits[-1:]]))
    parts += [f"as soon as larger than {sizes}"] if limits else []
    floor, budget = job.floor(), job.budget()
    if floor:
        least = str(floor.free) if floor.free.is_percent else format_size(int(floor.free.number))
        parts.append(f"as soon as less than {least} is free at {floor.path}")
    parts += [f"as soon as {budget.path} takes more than {format_size(budget.most)}"] if budget else []
    parts += [f"as soon as {job.due_when}"] if job.due_when else []
    text = "; ".join(parts)
    text += f", within {job.window}" if job.window else ""
    return text + (f", spread over {format_duration(job.spread)}" if job.spread else "")
