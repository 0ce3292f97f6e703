"""What a config comes to on this machine: when each job runs, and which files it names now."""

import socket
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from maintd import contexts, patterns
from maintd.config import Config
from maintd.job import Job
from maintd.own_files import OwnFiles
from maintd.patterns import Expansion
from maintd.timing import Timing, upcoming
from maintd.units import format_duration, format_size


@dataclass(frozen=True, slots=True)
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

    def fields(self) -> dict[str, Any]:
        """The prospect for programs."""
        return {
            "name": self.name,
            "enabled": self.job.enabled,
            "when": self.when,
            "next": [run.isoformat() for run in self.next],
            "files": None if self.files is None else len(self.files.matches),
        }


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
    """What the patterns of a job name, if its kind has patterns: `paths` and `exclude`, as the kinds call them."""
    paths = getattr(job, "paths", None)
    return None if paths is None else patterns.expand(paths, getattr(job, "exclude", ()), own=own)


def _when(job: Job) -> str:
    parts = [f"{job.cron.words} ({job.cron})"] if job.cron else []
    parts += [f"every {format_duration(job.every)}"] if job.every else []
    watched = job.watched()
    parts += [f"as soon as larger than {format_size(watched.max_size)}"] if watched else []
    text = "; ".join(parts)
    text += f", within {job.window}" if job.window else ""
    return text + (f", spread over {format_duration(job.spread)}" if job.spread else "")
