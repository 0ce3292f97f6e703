"""Measuring what directories take and how full their file systems are, and how long that will go well."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from maintd import measuring, trends
from maintd.actions.hands import Hands
from maintd.errors import MaintdError, trouble
from maintd.events import Event, Failure
from maintd.measuring import Measured, Space, Unnamed
from maintd.names import printable
from maintd.steps import Action
from maintd.trends import Sample
from maintd.units import format_size
from maintd.values import dataclass

_SAID = 5
"""How many of the largest, of a kind, an event names."""
_REMEMBERED = 20
"""How many of the largest files, and groups, of a directory are remembered."""


@dataclass(frozen=True, kw_only=True)
class DirectoryMeasured(Event):
    """What a directory takes: `disk_bytes` on the disk, `apparent_bytes` as its files say; `archive_bytes` of that are
    maintd's archives. `growth_bytes` a day, if several days tell. `unread` entries could not be looked at.
    """

    name: ClassVar[str] = "directory.measured"

    disk_bytes: int
    apparent_bytes: int
    files: int
    archive_bytes: int
    archives: int
    database_bytes: int
    wal_bytes: int
    freelist_bytes: int
    largest: str
    growth_bytes: int | None = None
    fastest: str | None = None
    unread: int | None = None

    @property
    def msg(self) -> str:
        growing = f", {format_size(self.growth_bytes)} more a day" if self.growth_bytes else ""
        return f"takes {format_size(self.disk_bytes)} in {self.files} files{growing}"


@dataclass(frozen=True, kw_only=True)
class StorageMeasured(Event):
    """How full a file system is; `full_days` until it is full, at the earliest and at the latest, if that is known.

    `deleted_bytes` are of files that were deleted and are still open.
    """

    name: ClassVar[str] = "storage.measured"

    size_bytes: int
    free_bytes: int
    inodes: int
    free_inodes: int
    deleted_bytes: int
    deleted: str | None = None
    growth_bytes: int | None = None
    full_days: float | None = None
    full_days_least: float | None = None
    full_days_most: float | None = None

    @property
    def msg(self) -> str:
        text = f"{format_size(self.free_bytes)} of {format_size(self.size_bytes)} free"
        if self.full_days is not None:
            text += f", full in {self.full_days:.0f} days ({self.full_days_least:.0f} to {self.full_days_most:.0f})"
        return text


@dataclass(frozen=True, kw_only=True)
class StorageFilling(Event):
    """A file system will be full within the job's `warn_within`, by the growth of several days; said once."""

    name: ClassVar[str] = "storage.filling"
    level: ClassVar[str] = "warning"

    free_bytes: int
    growth_bytes: int
    full_days: float
    full_days_least: float
    full_days_most: float

    @property
    def msg(self) -> str:
        bounds = f"{self.full_days_least:.0f} to {self.full_days_most:.0f}"
        growth = format_size(self.growth_bytes)
        return f"will be full in about {self.full_days:.0f} days ({bounds}): it grows by {growth} a day"


@dataclass(frozen=True, kw_only=True)
class MeasureFailed(Failure):
    """A directory could not be measured, because it is not there, maybe; others are. Told again when that changes, or
    after an hour.
    """

    name: ClassVar[str] = "measure.failed"
    is_repetitive: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Measure(Action):
    """Measures directories; `history` are earlier samples. With `keeps` what it finds is remembered.

    It changes nothing that it looks at, so a job that only observes does it too.
    """

    verb: ClassVar[str] = "measure"
    failure: ClassVar[type[Failure]] = MeasureFailed
    is_harmless: ClassVar[bool] = True

    directories: tuple[str, ...]
    top: int
    now: datetime
    warn_within: timedelta | None
    history: tuple[Sample, ...] = ()
    keeps: bool = True

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()

        call = partial(called, hands, self)
        spaces: dict[str, Space] = {}
        samples: list[Sample] = []
        with measuring.threads() as pool:
            for path in self.directories:
                try:
                    found = measuring.measure(path, max(self.top, _REMEMBERED), call, pool)
                except (OSError, MaintdError) as error:
                    hands.check()
                    yield MeasureFailed.from_trouble(path, "measure it", trouble(error))
                    continue
                spaces.setdefault(found.space.mount, found.space)
                samples += samples_of(found, self.now)
                yield _measured(found, [*self.history, *samples])
        samples += [Sample(self.now, mount, space.used) for mount, space in spaces.items()]
        deleted = measuring.deleted(list(spaces.values()), call) if spaces else []
        for space, unnamed in zip(spaces.values(), deleted, strict=True):
            yield from self._of_space(space, unnamed, samples)
        if self.keeps:
            hands.samples.extend(samples)

    def _of_space(self, space: Space, deleted: Unnamed, new: Sequence[Sample]) -> Iterator[Event]:
        before = [sample for sample in self.history if sample.what == space.mount]
        found = trends.trend([*before, *(sample for sample in new if sample.what == space.mount)])
        days = found.days_until(space.free) if found else None
        yield StorageMeasured(
            target=space.mount,
            size_bytes=space.size,
            free_bytes=space.free,
            inodes=space.inodes,
            free_inodes=space.free_inodes,
            deleted_bytes=deleted.size,
            deleted=_listed([(one.size, f"{one.program} (pid {one.pid}) {one.was}") for one in deleted.largest])
            or None,
            growth_bytes=round(found.per_day) if found else None,
            **_days(days),
        )
        if found and days and self._is_news(days[0], space, before):
            yield StorageFilling(
                target=space.mount, free_bytes=space.free, growth_bytes=round(found.per_day), **_days(days)
            )

    def _is_news(self, days: float, space: Space, before: Sequence[Sample]) -> bool:
        """Whether it is to be warned of, and the samples before this one did not call for that."""
        if self.warn_within is None or days > self.warn_within / timedelta(days=1):
            return False
        earlier = trends.trend(before)
        then = earlier.days_until(space.size - before[-1].size) if earlier else None
        return then is None or then[0] > self.warn_within / timedelta(days=1)


def called(hands: Hands, action: Action, function: str, **arguments: Any) -> Any:
    """Has a function of measuring.py run in a child."""
    return hands.call(f"{measuring.__name__}:{function}", action, **arguments)


def group(path: str, name: str) -> str:
    """What samples of a group below a directory are called; no path has two slashes in a row."""
    return f"{path.rstrip('/')}//{name}"


def parts(what: str) -> tuple[str, str]:
    """What a sample is of: a path and nothing, or the directory that a group lies below and its name."""
    path, _, name = what.partition("//")
    return path or "/", name


def shown(what: str) -> str:
    """The same for people."""
    path, name = parts(what)
    return f"{name} in {path}" if name else path


def samples_of(found: Measured, now: datetime) -> list[Sample]:
    """What is to be remembered of a directory: its size, and those of its largest groups and files."""
    walked = found.walked
    groups = heapq.nlargest(_REMEMBERED, ((one.disk, name) for name, one in walked.groups.items()))
    sizes = [(walked.total.disk, found.path), *((size, group(found.path, name)) for size, name in groups)]
    return [Sample(now, what, size) for size, what in [*sizes, *walked.largest[:_REMEMBERED]]]


def fastest(path: str, samples: Iterable[Sample]) -> list[tuple[float, str]]:
    """What grows for certain below a directory, files and groups, in bytes a day: the fastest first."""
    by_what: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.what != path and sample.what.startswith(f"{path.rstrip('/')}/"):
            by_what[sample.what].append(sample)
    found = [(one.per_day, what) for what, own in by_what.items() if (one := trends.trend(own)) and one.is_growing]
    return sorted(found, reverse=True)


def _measured(found: Measured, samples: Sequence[Sample]) -> DirectoryMeasured:
    walked, databases = found.walked, found.databases
    growth = trends.trend(sample for sample in samples if sample.what == found.path)
    growing = [(round(per_day), shown(what)) for per_day, what in fastest(found.path, samples)]
    return DirectoryMeasured(
        target=found.path,
        disk_bytes=walked.total.disk,
        apparent_bytes=walked.total.apparent,
        files=walked.total.files,
        archive_bytes=walked.archives.disk,
        archives=walked.archives.files,
        database_bytes=sum(one.size for one in databases),
        wal_bytes=sum(one.wal for one in databases),
        freelist_bytes=sum(one.free for one in databases),
        largest=_listed(walked.largest),
        growth_bytes=round(growth.per_day) if growth else None,
        fastest=_listed(growing) or None,
        unread=walked.unread or None,
    )


def _days(days: tuple[float, float, float] | None) -> dict[str, Any]:
    names = ("full_days", "full_days_least", "full_days_most")
    return {name: round(value, 1) for name, value in zip(names, days, strict=True)} if days else {}


def _listed(sizes: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{printable(what)} {format_size(size)}" for size, what in sizes[:_SAID])
