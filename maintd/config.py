"""From TOML files to one frozen Config, or to every error in them at once with its place."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from functools import cached_property
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeGuard, TypeVar

from pydantic import ValidationError

from maintd import job_tables, jobs, patterns
from maintd.alert_settings import Alerts
from maintd.claims import Claims
from maintd.complaints import complaints, did_you_mean, dotted
from maintd.errors import ConfigError, Problem
from maintd.job import Job, Watched
from maintd.job_tables import JobTable
from maintd.names import printable
from maintd.own_files import OwnFiles
from maintd.rules import Options
from maintd.settings import TABLES, Cascade, Daemon, Supervisor
from maintd.toml_places import KeyPath
from maintd.toml_source import Source, read
from maintd.values import dataclass

if TYPE_CHECKING:
    from maintd.check import Check

_Table = TypeVar("_Table", bound=Options)


class Place(NamedTuple):
    """Where a table or an option stands; `line` and `column` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Config:
    """A whole configuration that was found valid. `jobs` are by `kind.name`, in file order.

    `sources` says which file holds each table, by the names of the jobs and of the settings tables. No job's patterns
    name what is maintd's `own`.
    """

    settings: Daemon
    supervisor: Supervisor
    jobs: Mapping[str, Job]
    files: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)
    own: OwnFiles = field(default_factory=OwnFiles, compare=False)
    cascade: Cascade = field(default_factory=Cascade)
    alerts: Alerts = field(default_factory=Alerts)

    @cached_property
    def places(self) -> Mapping[str, Place]:
        """Where each table (`rotate.services`) and each option that is given (`rotate.services.keep`) stands."""
        found: dict[str, Place] = {}
        for name, source in self.sources.items():
            path = tuple(name.split("."))
            table = source.tables
            for step in path:
                table = table[step]
            for below in [path, *((*path, option) for option in table)]:
                found[dotted(below)] = Place(source.file, *source.places.find(below))
        return MappingProxyType(found)

    @cached_property
    def digest(self) -> str:
        """Equal for configs that come to the same plans: tells whether a daemon has what a file says.

        How supervisord is reached counts only as far as it is given: the rest is in a process's environment.
        """
        supervisor = sorted(self.supervisor.model_dump(exclude_unset=True).items())
        told = (self.settings, supervisor, [(name, job.digest) for name, job in self.jobs.items()])
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    @cached_property
    def claims(self) -> Claims:
        """What the enabled jobs claim, in file order."""
        return Claims(
            [(name, job.claims) for name, job in self.jobs.items() if job.enabled and job.claims() is not None]
        )

    def watched(self, name: str) -> tuple[Watched, ...]:
        """The files whose growth makes a job due, if it has any and is enabled."""
        groups = self.jobs[name].watched() if self.jobs[name].enabled else ()
        return tuple(replace(group, own=self.own) for group in groups)

    def place(self, name: str, option: str = "") -> Place:
        """Where one job, or one of its options, stands: unlike `places`, cheap to ask."""
        source = self.sources[name]
        return Place(source.file, *source.position((*name.split("."), *filter(None, option.split(".")))))


def load(path: str, *, euid: int | None = None) -> Config:
    """Reads `path` and conf.d/*.toml beside it, which may only add jobs. `euid` is who maintd runs as, default: we.

    Raises ConfigError with every problem of the files that parse and the first of each that does not.
    """
    reading = _Reading(os.geteuid() if euid is None else euid)
    main = reading.read(path)
    daemon, supervisor = reading.settings("daemon", Daemon, main), reading.settings("supervisor", Supervisor, main)
    cascade, alerts = reading.settings("cascade", Cascade, main), reading.settings("alerts", Alerts, main)
    beside = reading.beside(path)
    sources = [main, *[reading.read(extra) for extra in beside]]
    for source in filter(None, sources):
        reading.take(source, is_main=source is main)
    reading.keep_archives_apart()
    reading.find_dependencies()
    if reading.problems or daemon is None or supervisor is None or cascade is None or alerts is None:
        raise ConfigError(sorted(reading.problems, key=reading.order))
    return Config(
        daemon,
        supervisor,
        MappingProxyType(reading.jobs),
        tuple(source.file for source in sources if source),
        tuple(reading.warnings({"supervisor": supervisor, "alerts": alerts})),
        MappingProxyType(reading.tables),
        reading.own([daemon.state_dir, daemon.runtime_dir], [_conf_d(path), path, *beside]),
        cascade,
        alerts,
    )


def _conf_d(path: str) -> str:
    return os.path.join(os.path.dirname(path), "conf.d")


@dataclass
class _Reading:
    """A config as far as it has been read, with the problems met so far; of the `faulty` tables, what is right."""

    euid: int
    files: list[str] = field(default_factory=list)
    tables: dict[str, Source] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    faulty: dict[str, Options] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def read(self, path: str) -> Source | None:
        self.files.append(printable(path))
        try:
            return read(path, euid=self.euid)
        except ConfigError as error:
            self.problems.extend(error.problems)
            return None

    def beside(self, path: str) -> list[str]:
        """The files of conf.d/ beside the main file, sorted by name."""
        folder = _conf_d(path)
        try:
            entries = sorted(os.listdir(folder))
        except (FileNotFoundError, ValueError):  # ValueError: a NUL in the name, which is said of the main file
            return []
        except OSError as error:
            self.problems.append(Problem(printable(folder), 0, 0, f"cannot be listed: {error.strerror}"))
            return []
        return [os.path.join(folder, name) for name in entries if name.endswith(".toml") and not name.startswith(".")]

    def settings(self, name: str, model: type[_Table], main: Source | None) -> _Table | None:
        """A settings table of the main file, its defaults if it is not there, None if it is wrong."""
        if main is None or name not in main.tables:
            return model()
        self.tables[name] = main
        return self._validated(model, main, (name,))

    def take(self, source: Source, *, is_main: bool) -> None:
        """Takes over the jobs of one file."""
        for found in job_tables.find(source):
            if isinstance(found, JobTable):
                self._take_job(source, found)
            else:
                self._refuse(source, found.path, found.message)
        for name in () if is_main else TABLES.keys() & source.tables.keys():
            self._refuse(source, (name,), "belongs into the main file: files of conf.d/ may only add jobs")

    def _take_job(self, source: Source, found: JobTable) -> None:
        if found.name in self.tables:
            other = self.tables[found.name]
            line, _ = other.places.find(found.path)
            self._refuse(source, found.path, f"is already defined in {other.file}:{line}")
            return
        self.tables[found.name] = source
        job = self._validated(jobs.kind(found.kind), source, found.path)
        if job is not None:
            self.jobs[found.name] = job

    def _validated(self, model: type[_Table], source: Source, path: KeyPath) -> _Table | None:
        table = source.tables
        for step in path:
            table = table[str(step)]
        try:
            return model.model_validate(table)
        except ValidationError as error:
            found = complaints(error, model, table)
            if isinstance(table, dict):
                self.faulty[dotted(path)] = model.valid_part(table, error)
        for complaint in found:
            below = (*path, *complaint.path)
            self.problems.append(
                Problem(
                    source.file, *source.places.find(below, complaint.part), f"{dotted(below)}: {complaint.message}"
                )
            )
        return None

    def keep_archives_apart(self) -> None:
        """Two jobs that put archives into one directory could not tell whose are whose, and would delete them.

        Where a pattern has wildcards among its directories that is seen when a log is to be rotated.
        """
        owners: dict[str, tuple[str, str]] = {}
        for name, job in self.jobs.items():
            claim = job.claims() if job.enabled else None
            for folder, origin in claim.grounds() if claim else ():
                owner, other = owners.setdefault(folder, (name, origin))
                if owner != name and not origin == other != "":
                    message = f"{folder} is the olddir of {owner} as well: give each job a directory of its own"
                    self._refuse(self.tables[name], (*name.split("."), "olddir"), message)
                    break

    def find_dependencies(self) -> None:
        """What a check depends on is another check, and does not depend on it in turn."""
        tables = {**self.jobs, **self.faulty}
        needs = {name: job.depends_on for name, job in tables.items() if _is_check(job)}
        for name, others in needs.items():
            path = (*name.split("."), "depends_on")
            for other in others:
                if other not in needs and other not in self.tables:
                    message = f'there is no check "{other}"{did_you_mean(other, tuple(needs))}'
                    self._refuse(self.tables[name], path, message)
                elif other not in needs and other in self.jobs:
                    self._refuse(self.tables[name], path, f'"{other}" is no check')
            if name in _reached(needs, name):
                self._refuse(self.tables[name], path, "leads back to this check itself")

    def own(self, directories: Iterable[str], config: Iterable[str]) -> OwnFiles:
        """What no job may name: those, and what jobs keep."""
        kept = [job.keeps(name) for name, job in self.jobs.items()]
        stores = chain(directories, *(one.paths for one in kept))
        return OwnFiles.at(stores, config, chain.from_iterable(one.sets for one in kept))

    def _refuse(self, source: Source, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(source.file, *source.places.find(path), f"{dotted(path)}: {message}"))

    def order(self, problem: Problem) -> tuple[int, int, int]:
        """Problems are told by file, line and column."""
        known = problem.file in self.files
        return self.files.index(problem.file) if known else len(self.files), problem.line, problem.column

    def warnings(self, settings: Mapping[str, Supervisor | Alerts]) -> Iterator[Problem]:
        """What is valid and yet hardly meant."""
        if not any(job.enabled for job in self.jobs.values()):
            which = "every job is disabled" if self.jobs else "there is no job, such as [rotate.services]"
            yield Problem(self.files[0], 0, 0, f"{which}: maintd looks after nothing", "warning")
        doubts = [(table, *doubt) for table, model in settings.items() for doubt in model.doubts(self.jobs)]
        for table, option, message in doubts:
            source = self.tables[table]
            yield Problem(source.file, *source.position((table, option)), f"{table}.{option}: {message}", "warning")


def _is_check(table: Options) -> "TypeGuard[Check]":
    """By the name of the kind: a config without checks is read without what they need."""
    return isinstance(table, Job) and table.kind.startswith("check.")


def _reached(needs: Mapping[str, tuple[str, ...]], start: str) -> set[str]:
    """All that can be got to from `start` by following `needs`."""
    found: set[str] = set()
    left = list(needs[start])
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += needs.get(name, ())
    return found


def shared_logs(config: Config) -> list[Problem]:
    """A warning for each two jobs that claim one log now. Reads the disk."""
    owners: dict[str, str] = {}
    shared: dict[tuple[str, str], list[str]] = {}
    for name, job in config.jobs.items():
        claim = job.claims() if job.enabled else None
        for match in patterns.expand(claim.paths, claim.exclude, own=config.own).matches if claim else ():
            owner = owners.setdefault(match.path, name)
            if owner != name:
                shared.setdefault((owner, name), []).append(match.path)
    return [_shared_problem(config, *pair, paths) for pair, paths in shared.items()]


def _shared_problem(config: Config, owner: str, name: str, paths: list[str]) -> Problem:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    message = (
        f"{name}: claims {printable(paths[0])}{more}, which {owner} claims as well; "
        f"{owner} stands first ({config.place(owner)}) and rotates it"
    )
    return Problem(*config.place(name), message, "warning")
